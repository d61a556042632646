import * as fs from "node:fs";
import * as path from "node:path";

import { UserError } from "../contract/errors";
import type { BuildRequest, BuildSecrets } from "./build";

/** A source on this machine's disk. */
export interface PreparedSource {
    /** A git working copy, or a plain tree. */
    readonly directory: string;
    /** The commit or tag of it to build; empty is its HEAD. */
    readonly ref: string;
    /** What the stack's configuration gets beside the request's; undefined takes a key of that away. */
    readonly config?: Readonly<Record<string, unknown>>;
}

/**
 * Brings a build's source to this machine.
 *
 * @param directory where to put it: empty, and the build's own
 * @throws UserError, one line, for a source that cannot be had or is not allowed.
 */
export type SourceProvider = (
    request: BuildRequest,
    secrets: BuildSecrets,
    directory: string,
    signal: AbortSignal,
) => Promise<PreparedSource>;

/** Directories of this machine, used where they are: for whoever may read all that this process may. */
export const localSources: SourceProvider = (request) => {
    if (!path.isAbsolute(request.source)) {
        throw new UserError(`the source ${request.source} is no absolute path of a directory`);
    }
    if (!fs.existsSync(request.source)) {
        throw new UserError(`there is no directory ${request.source}`);
    }
    return Promise.resolve({ directory: request.source, ref: request.ref ?? "" });
};

/** None at all. */
export const noSources: SourceProvider = ({ source }) => {
    throw new UserError(`sources such as ${source} are not taken here`);
};
