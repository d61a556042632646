import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

import { UserError } from "../contract/errors";
import { keyOfName } from "../contract/layout";
import { downloadArtifacts } from "../launcher/artifacts";
import { examine } from "../launcher/evidence";
import { evidenceIn, evidenceOf, verifyDirectory } from "../launcher/verify";
import { dockerCredentials } from "../service/registry/repositories";
import { assetsOf } from "../service/release/assets";
import { GitHubReleases } from "../service/release/github";
import { planImages, pushImages } from "../service/release/images";
import { notesOf } from "../service/release/notes";
import { release } from "../service/release/release";
import { githubRepository } from "../service/triggers/schema";
import { publicKey } from "./buildActions";
import { openStore } from "./context";
import { stackSettings } from "./settings";

export interface ReleaseOptions {
    readonly stack: string;
    readonly cwd: string;
    readonly configFile?: string;
    readonly repository: string;
    readonly releaseTag: string;
    readonly key?: string;
    readonly replace: boolean;
    readonly draft: boolean;
    /** Commander's way to say `--no-github`. */
    readonly github: boolean;
    readonly image: readonly string[];
    readonly registryConfig: string;
    readonly json: boolean;
}

/** https://git-scm.com/docs/git-check-ref-format, as far as a tag of a release needs it. */
const tagPattern = /^(?!.*(\.\.|@\{|\/\/|\.lock$|[/.]$))[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}$/;

/** Releases what was built, and verified. */
export async function releaseBuild(name: string, options: ReleaseOptions): Promise<void> {
    const tag = options.releaseTag || (name.split("/", 1)[0] ?? "");
    const github = options.github ? openGitHub(options, tag) : undefined;
    if (!github && options.image.length === 0) {
        throw new UserError("with --no-github there is nothing to do but to push images; name one with --image");
    }
    const key = options.key === undefined ? undefined : publicKey(options.key);
    const settings = stackSettings(options.cwd, options.stack, options.configFile).read();
    const store = openStore(`${settings.blobEndpoint}/${settings.blobContainer}`);
    const say = (line: string): void => void process.stderr.write(`${line}\n`);
    const { manifest, problems } = examine(await evidenceOf(store, keyOfName(name)), key, keyOfName(name));
    if (!manifest) {
        throw new UserError(`${name} was not built; \`ke1 builds\` lists what there is`);
    }
    refuse(name, problems);
    const images = planImages(options.image, manifest.image, tag, dockerCredentials(options.registryConfig));
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "ke1-release-"));
    try {
        await downloadArtifacts(store, manifest, directory, () => undefined);
        // What is released is what was verified: these bytes, and by these documents.
        const downloaded = examine(evidenceIn(directory), key, keyOfName(name));
        refuse(name, [...downloaded.problems, ...(await verifyDirectory(directory, manifest))]);
        const assets = assetsOf(manifest, directory);
        for (const { name: link } of manifest.links ?? []) {
            say(`${link} is a link, and not released`);
        }
        const planned = await Promise.all(images.map(async (image) => image.resolve()));
        const push = async () => pushImages(planned, { replace: options.replace, say });
        if (!github) {
            print(options, { images: await push() });
            return;
        }
        const notes = notesOf(manifest, assets, planned);
        let pushed: Awaited<ReturnType<typeof push>> = [];
        const result = await release(
            github,
            { tag, manifest, assets, notes, replace: options.replace, draft: options.draft },
            say,
            async () => void (pushed = await push()),
        );
        const { repository } = options;
        print(options, { repository, tag, ...result, images: pushed });
    } finally {
        fs.rmSync(directory, { recursive: true, force: true });
    }
}

function openGitHub({ repository }: ReleaseOptions, tag: string): GitHubReleases {
    if (repository === "") {
        throw new UserError("name the repository on GitHub: --repository owner/name, or GITHUB_REPOSITORY");
    }
    if (!new RegExp(githubRepository).test(repository)) {
        throw new UserError(`--repository must be owner/name, not ${repository}`);
    }
    if (!tagPattern.test(tag)) {
        throw new UserError(`\`${tag}\` cannot be the tag of a release; give one with --release-tag`);
    }
    return new GitHubReleases({
        repository,
        apiUrl: process.env["GITHUB_API_URL"] || "https://api.github.com",
        token: githubToken(process.env),
    });
}

/** Of the environment, or of a file (a mounted Secret); never of the command line, which others can see. */
function githubToken(environment: NodeJS.ProcessEnv): string {
    const file = environment["GITHUB_TOKEN_FILE"] ?? "";
    let token = environment["GITHUB_TOKEN"] ?? "";
    if (token === "" && file !== "") {
        try {
            token = fs.readFileSync(file, "utf8");
        } catch {
            throw new UserError(`GITHUB_TOKEN_FILE names ${file}, which cannot be read`);
        }
    }
    token = token.trim();
    if (token === "") {
        throw new UserError("there is no token for GitHub: set GITHUB_TOKEN, or GITHUB_TOKEN_FILE to a file with it");
    }
    if (!/^[!-~]+$/.test(token)) {
        throw new UserError("the token for GitHub has letters in it that none has; is it whole, and one line?");
    }
    return token;
}

function refuse(name: string, problems: readonly string[]): void {
    if (problems.length > 0) {
        process.stdout.write(problems.map((problem) => `${problem}\n`).join(""));
        throw new Error(`${name} does not verify, and is not released`);
    }
}

function print({ json }: ReleaseOptions, result: Readonly<Record<string, unknown>> & { readonly url?: string }): void {
    if (json) {
        process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
        return;
    }
    const images = result["images"] as readonly { readonly destination: string; readonly digest: string }[];
    const lines = [...(result.url === undefined ? [] : [result.url]), ...images.map(shownImage)];
    process.stdout.write(lines.map((line) => `${line}\n`).join(""));
}

function shownImage({ destination, digest }: { readonly destination: string; readonly digest: string }): string {
    return `${destination}@${digest}`;
}
