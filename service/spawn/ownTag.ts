import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";

import { UserError } from "../../contract/errors";
import { git } from "../../source/git";
import type { SourceProvider } from "../sourceProvider";
import { tagLabel } from "./jobRequest";

/**
 * Gives each job's source the tag that its build is to be called by: the BUILD_TAG of a build is a commit's or a tag's name,
 * and one name stands for one command. Repositories of this machine are cloned first, as nothing is changed in them.
 */
export function withOwnTag(provider: SourceProvider): SourceProvider {
    return async (request, secrets, directory, signal) => {
        const source = await provider(request, secrets, directory, signal);
        const tag = request.labels[tagLabel];
        if (tag === undefined) {
            return source;
        }
        const inside = !path.relative(directory, source.directory).startsWith("..");
        const working = inside ? source.directory : path.join(directory, "clone");
        if (!inside) {
            await clone(source.directory, working, signal);
        }
        if (!fs.existsSync(path.join(working, ".git"))) {
            throw new UserError("the job's repository is no git repository");
        }
        const wanted = source.ref === "" ? ["HEAD"] : [source.ref, `origin/${source.ref}`];
        const commit = wanted
            .map((name) => git(working, ["rev-parse", "--verify", "--quiet", "--end-of-options", `${name}^{commit}`]))
            .find(({ status }) => status === 0);
        if (!commit) {
            throw new UserError(`the repository has no commit, tag or branch ${source.ref}`);
        }
        const tagged = git(working, ["tag", "--force", tag, commit.stdout.trim()]);
        if (tagged.status !== 0) {
            throw new UserError(`git tag ${tag} failed: ${lastLine(tagged.stderr)}`);
        }
        return { directory: working, ref: tag };
    };
}

/** Not waited for in the way that `git` waits: a large repository takes its time, and agents must be heard of. */
async function clone(from: string, to: string, signal: AbortSignal): Promise<void> {
    const args = ["clone", "--quiet", "--no-checkout", "--no-hardlinks", "--", from, to];
    await promisify(execFile)("git", args, { signal, env: { ...process.env, LC_ALL: "C" } }).catch((error: unknown) => {
        throw signal.aborted ? error : new UserError(`git clone failed: ${lastLine((error as Error).message)}`);
    });
}

function lastLine(text: string): string {
    return text.trim().split("\n").at(-1) ?? "";
}
