import * as fs from "node:fs";
import * as path from "node:path";

import { UserError } from "../contract/errors";
import { ke1Home } from "../platform/home";
import { required } from "./context";

/** Makes the directory of the embedded platform's node that mirrors are kept in, for the user that the syncer is. */
export function makeMirrorDirectory(): void {
    const directory = mirrorDirectory();
    const owner = Number(required("KE1_MIRROR_OWNER"));
    fs.mkdirSync(path.dirname(directory), { recursive: true, mode: 0o700 });
    fs.mkdirSync(directory, { recursive: true });
    fs.chownSync(directory, owner, owner);
    // As kubelet leaves a volume of this group: otherwise it would walk through all of it at each start.
    fs.chmodSync(directory, 0o2770);
    process.stdout.write("{}");
}

/** Removes it with all mirrors in it: they can be had again. */
export function removeMirrorDirectory(): void {
    fs.rmSync(mirrorDirectory(), { recursive: true, force: true });
}

/** @throws UserError for any directory but one of those that are made for this. */
function mirrorDirectory(): string {
    const directory = required("KE1_MIRROR_DIRECTORY");
    if (!/^[a-z0-9-]+$/.test(path.basename(directory)) || path.dirname(directory) !== path.join(ke1Home(), "mirrors")) {
        throw new UserError(`${directory} is not a directory of mirrors below ${ke1Home()}; is KE1_HOME as it was?`);
    }
    return directory;
}
