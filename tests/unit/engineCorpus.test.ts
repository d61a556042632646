import { createSecrets } from "../../engine/secrets";
import { declareCorpus } from "../engine/corpus";

describe("engine: corpus of programs", function () {
    this.timeout(60_000);

    declareCorpus({
        isEmbedded: true,
        async prepare(project, secrets) {
            if (Object.keys(secrets).length === 0) {
                return;
            }
            const { state, crypter } = await createSecrets(project.environment.PULUMI_CONFIG_PASSPHRASE ?? "");
            const sealed = Object.entries(secrets).map(([key, value]) => [key, { secure: crypter.encrypt(value) }]);
            project.encryptionSalt = state;
            project.configure(Object.fromEntries(sealed) as Record<string, unknown>);
        },
        async perform(project, kind) {
            const { outcome, errors, steps } = await project.run(kind);
            return { succeeded: outcome === "succeeded", errors: errors.join("\n"), steps };
        },
    });
});
