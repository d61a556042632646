import * as fs from "node:fs";
import * as path from "node:path";
import { DatabaseSync } from "node:sqlite";

import { UserError } from "../contract/errors";

/**
 * Makes a data directory one process's: two that took up the same builds would get into each other's way. The lock is
 * SQLite's, so it ends with the process, however that ends.
 *
 * @returns gives it back
 * @throws UserError where another process has it
 */
export function lockData(directory: string): () => void {
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    const file = path.join(directory, "lock.db");
    fs.closeSync(fs.openSync(file, "a", 0o600));
    const database = new DatabaseSync(file);
    try {
        database.exec("BEGIN EXCLUSIVE");
    } catch (error) {
        database.close();
        if (!/locked|busy/.test(String(error))) {
            throw error;
        }
        throw new UserError(`another ke1 works with ${directory}; end it, or give another directory with --data`);
    }
    return () => database.close();
}
