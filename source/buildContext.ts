import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import type { ImageSettings } from "../config/image";
import { UserError } from "../contract/errors";
import { argumentNames, withArguments } from "./dockerfile";
import { findTarget } from "./makefile";
import { imageLabels, withLabels } from "./imageLabels";
import type { ResolvedSource } from "./resolve";

/** The image's context: the files of one tree, and how a build in the image is started. */
export interface BuildContext {
    /** Relative to the project, and the same for one tree: it is an input of the image, and so lands in the state. */
    readonly path: string;
    /** Whether the source's Makefile has the target that is the image's entrypoint, `build-wrapper`. */
    readonly hasBuildWrapper: boolean;
}

/** Trees older than this are removed, in milliseconds: a week. */
const contextLifetime = 7 * 24 * 3600 * 1000;

/**
 * Puts the tree where the image build finds it, once, and looks whether it can be built.
 *
 * @param command what the stack says is to be run; empty for `make build`
 * @param image what the Dockerfile is to declare beside what it has
 * @throws UserError when there is no Dockerfile, or, where there will be a Job, no `build` target and no command.
 */
export function prepareBuildContext(
    source: ResolvedSource,
    projectDirectory: string,
    dockerfile: string,
    command: readonly string[],
    image: ImageSettings,
): BuildContext {
    const contexts = path.join(projectDirectory, ".ke1", "contexts");
    const labels = { ...imageLabels(source), ...image.imageLabels };
    const args = argumentNames(image);
    const labelsHash = createHash("sha256")
        .update(JSON.stringify([dockerfile, labels, ...(args.length === 0 ? [] : [args])]))
        .digest("hex")
        .slice(0, 8);
    const target = path.join(contexts, `${source.tree}-${labelsHash}`);
    if (!fs.existsSync(target)) {
        fs.mkdirSync(contexts, { recursive: true });
        removeStale(contexts);
        // Whole or not at all: a context that a killed run left half-written must never be built.
        const partial = fs.mkdtempSync(path.join(contexts, ".partial-"));
        try {
            source.extract(partial);
            completeDockerfile(partial, dockerfile, labels, args);
            fs.chmodSync(partial, 0o755);
            fs.renameSync(partial, target);
        } catch (error) {
            fs.rmSync(partial, { recursive: true, force: true });
            if (!fs.existsSync(target)) {
                throw error;
            }
        }
    }
    if (!fs.existsSync(path.join(target, dockerfile))) {
        throw new UserError(
            `${source.buildTag} has no ${dockerfile}; add one that makes an image in which the source can be built`,
        );
    }
    if (!image.imageOnly && command.length === 0 && findTarget(target, "build") === "no") {
        throw new UserError(
            `${source.buildTag} has no Makefile with a \`build\` target; add one, or set the stack's \`command\``,
        );
    }
    return {
        path: path.relative(projectDirectory, target),
        hasBuildWrapper: findTarget(target, "build-wrapper") === "yes",
    };
}

/** The image service takes no labels: the Dockerfile gives them. */
function completeDockerfile(
    directory: string,
    dockerfile: string,
    labels: Readonly<Record<string, string>>,
    args: readonly string[],
): void {
    const named = path.join(directory, dockerfile);
    // A missing file is said by the caller.
    if (!fs.existsSync(named)) {
        return;
    }
    const file = fs.realpathSync(named);
    const stat = fs.statSync(file);
    // A link may lead out of the tree.
    if (file.startsWith(fs.realpathSync(directory) + path.sep) && stat.isFile()) {
        fs.writeFileSync(file, withLabels(withArguments(fs.readFileSync(file, "utf8"), args), labels));
        // As every file of the tree has the commit's time.
        fs.utimesSync(file, stat.atime, stat.mtime);
    }
}

function removeStale(contexts: string): void {
    for (const name of fs.readdirSync(contexts)) {
        const directory = path.join(contexts, name);
        if (Date.now() - fs.statSync(directory).ctimeMs > contextLifetime) {
            fs.rmSync(directory, { recursive: true, force: true });
        }
    }
}
