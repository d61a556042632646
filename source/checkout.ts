import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import type { SourceSettings } from "../config";
import { UserError } from "../contract/errors";
import { argumentNames, withArguments } from "./dockerfile";
import { git } from "./git";
import { mirrorName, parseRemote } from "./remote";
import type { ResolvedSource } from "./resolve";

/** A working copy of one commit, to be made in the build's pod. */
export interface Checkout {
    /** Where pods get the repository from. */
    readonly remote: string;
    /** The name of the repository's mirror. */
    readonly mirror: string;
    readonly commit: string;
    /** The tree that is built: that of `prefix` in the commit. */
    readonly tree: string;
    /** The directory in the repository that is built, without a slash at its end; empty for the whole. */
    readonly prefix: string;
}

/** What of a build's plan differs where its image has no source. */
export interface CheckoutPlan {
    readonly checkout: Checkout;
    /** The context of the toolchain's image, relative to the project; empty where that image is there. */
    readonly context: string;
    readonly notes: readonly string[];
}

/**
 * Finds out what a pod needs to know to get the source by itself.
 *
 * @throws UserError where no pod could: uncommitted changes, no commit, no remote, no such Dockerfile.
 */
export function planCheckout(
    source: ResolvedSource,
    settings: Pick<SourceSettings, "source" | "remote" | "toolchainDockerfile" | "image" | "buildArgs" | "noCache">,
    projectDirectory: string,
): CheckoutPlan {
    const directory = path.resolve(projectDirectory, settings.source);
    const { commit, tree } = source;
    if (commit === undefined) {
        throw new UserError(`${directory} is not under git; sourceMode mirror builds commits of a remote repository`);
    }
    const prefix = source.prefix.replace(/\/$/, "");
    if (git(directory, ["rev-parse", "--verify", "--quiet", `${commit}:${prefix}`]).stdout.trim() !== tree) {
        throw new UserError(
            `uncommitted changes in ${directory} cannot be had from a remote; commit and push them, or set sourceMode to image`,
        );
    }
    const remote = settings.remote || originOf(directory);
    return {
        checkout: { remote, mirror: mirrorName(remote), commit, tree, prefix },
        context:
            settings.toolchainDockerfile === "" ? "" : toolchainContext(directory, source, settings, projectDirectory),
        notes: [...source.notes, ...unpushed(directory, commit)],
    };
}

function originOf(directory: string): string {
    const { status, stdout } = git(directory, ["remote", "get-url", "origin"]);
    if (status !== 0) {
        throw new UserError(`${directory} has no remote \`origin\`; set remote to where pods get the repository from`);
    }
    // A user and a token that a person's own clone has in it are not the stack's.
    return parseRemote(stdout.trim().replace(/^(https?:\/\/)[^@/]*@/i, "$1"), "remote, which is that of `origin`,");
}

/** Tells of a commit that is likely not to be there, as far as this clone knows. */
function unpushed(directory: string, commit: string): readonly string[] {
    const refs = (...more: readonly string[]) =>
        git(directory, ["for-each-ref", "--count=1", ...more, "refs/remotes"]).stdout.trim();
    return refs() !== "" && refs("--contains", commit) === ""
        ? [`${commit.slice(0, 12)} is on no branch of a remote that this clone knows of: the build needs it pushed`]
        : [];
}

/**
 * A directory with the Dockerfile and nothing else: the image is the same for all commits that have the same one, and are
 * given the same arguments. It is the image's tag too, which is why their values are in its name.
 */
function toolchainContext(
    directory: string,
    source: ResolvedSource,
    settings: Pick<SourceSettings, "toolchainDockerfile" | "buildArgs" | "noCache">,
    projectDirectory: string,
): string {
    const { toolchainDockerfile, buildArgs } = settings;
    const file = git(directory, ["show", `${source.commit ?? ""}:${source.prefix}${toolchainDockerfile}`]);
    if (file.status !== 0) {
        throw new UserError(`${source.buildTag} has no ${toolchainDockerfile}; add it, or set image to a toolchain`);
    }
    const dockerfile = withArguments(file.stdout, argumentNames(settings));
    const values = Object.keys(buildArgs).length === 0 ? "" : JSON.stringify(buildArgs);
    const hash = createHash("sha256").update(dockerfile).update(values).digest("hex").slice(0, 12);
    const context = path.join(projectDirectory, ".ke1", "contexts", `toolchain-${hash}`);
    fs.mkdirSync(context, { recursive: true });
    const partial = path.join(context, `.Dockerfile-${process.pid}`);
    fs.writeFileSync(partial, dockerfile);
    fs.renameSync(partial, path.join(context, "Dockerfile"));
    return path.relative(projectDirectory, context);
}
