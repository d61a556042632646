import * as fs from "node:fs";
import * as path from "node:path";

import { parse, stringify } from "yaml";

import { UserError } from "../contract/errors";
import type { BuildRequest } from "./build";
import { withImageConfig } from "./imageRequest";
import type { ServiceSettings } from "./settings";

/**
 * Writes the configuration of one build's stack: the base stack's, with what the request says over it.
 *
 * @param namespace where the build runs; undefined gives the stack a namespace of its own
 */
export function writeStackFile(
    file: string,
    settings: ServiceSettings,
    request: BuildRequest,
    namespace: { readonly name: string; readonly exists: boolean } | undefined,
): void {
    const base = readBase(settings);
    const project = "ke-1-build";
    const config: Record<string, unknown> = {};
    const qualified = Object.fromEntries(
        Object.entries(base.config).map(([key, value]) => [key.includes(":") ? key : `${project}:${key}`, value]),
    );
    for (const [name, value] of Object.entries(withImageConfig(qualified, settings, request))) {
        // These say what to build, or where, and each build has its own.
        if (!/^ke-1-build:(source|buildTag|buildTags|namespace|createNamespace)$/.test(name)) {
            config[name] = value;
        }
    }
    for (const [key, value] of Object.entries(request.config).filter(([key]) => key !== "buildArgs")) {
        config[key.includes(":") ? key : `${project}:${key}`] = value;
    }
    config[`${project}:deadlineSeconds`] ??= request.timeoutSeconds ?? settings.timeoutSeconds;
    if (namespace) {
        config[`${project}:namespace`] = namespace.name;
        config[`${project}:createNamespace`] = !namespace.exists;
    }
    fs.writeFileSync(file, stringify({ ...base.document, config }), { mode: 0o600 });
}

/** The base stack's file, and what it configures. */
export function readBase({ projectDirectory, baseStack }: ServiceSettings) {
    const file = path.join(projectDirectory, `Pulumi.${baseStack}.yaml`);
    if (!fs.existsSync(file)) {
        throw new UserError(`there is no ${file}; --stack names the stack whose configuration builds begin with`);
    }
    const document = (parse(fs.readFileSync(file, "utf8")) ?? {}) as Readonly<Record<string, unknown>>;
    return { document, config: (document["config"] ?? {}) as Readonly<Record<string, unknown>> };
}
