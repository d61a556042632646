import * as fs from "node:fs";
import * as path from "node:path";
import { DatabaseSync } from "node:sqlite";

import type { BuildEvent, BuildRecord, BuildRequest, BuildSecrets, BuildState } from "./build";
import { inTransaction } from "./transaction";
import { Vault } from "./vault";

/** Which builds a list is to have. */
export interface BuildFilter {
    readonly state?: BuildState;
    /** Labels, all of which must be so. */
    readonly labels?: Readonly<Record<string, string>>;
    readonly lane?: string;
    readonly caller?: string;
    /** Found in the source, the tag, the commit, the message or a label. */
    readonly text?: string;
    /** Only builds made before this one. */
    readonly before?: string;
    readonly limit?: number;
}

/** What of a build's record changes. */
export type BuildChange = Partial<Omit<BuildRecord, "id" | "request" | "caller" | "createdAt">>;

interface Row {
    readonly document: string;
}

const schema = `
    CREATE TABLE IF NOT EXISTS builds (
        number   INTEGER PRIMARY KEY AUTOINCREMENT,
        id       TEXT NOT NULL UNIQUE,
        state    TEXT NOT NULL,
        lane     TEXT,
        document TEXT NOT NULL,
        secrets  BLOB
    ) STRICT;
    CREATE INDEX IF NOT EXISTS builds_by_state ON builds (state, number);
    CREATE TABLE IF NOT EXISTS events (
        seq   INTEGER PRIMARY KEY AUTOINCREMENT,
        build TEXT NOT NULL,
        at    TEXT NOT NULL,
        type  TEXT NOT NULL,
        data  TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS events_by_build ON events (build, seq);
`;

/**
 * The builds of a service and what happened to them, in one SQLite file. What a method has returned from is on the disk:
 * a killed service loses nothing that somebody was told.
 */
export class QueueStore {
    private constructor(
        /** For the parts that keep tables of their own beside these. */
        public readonly database: DatabaseSync,
        private readonly vault: Vault,
    ) {}

    /** Opens `<directory>/service.db`, and makes both where they are missing. */
    public static open(directory: string): QueueStore {
        fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
        const file = path.join(directory, "service.db");
        // SQLite gives its other files the mode of this one.
        fs.closeSync(fs.openSync(file, "a", 0o600));
        const database = new DatabaseSync(file, { timeout: 5000 });
        database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
        database.exec(schema);
        return new QueueStore(database, Vault.open(directory));
    }

    public close(): void {
        this.database.close();
    }

    /** All of it, or nothing. */
    public transaction<T>(work: () => T): T {
        return inTransaction(this.database, work);
    }

    public add(record: BuildRecord, secrets: BuildSecrets): void {
        const sealed = Object.keys(secrets).length === 0 ? null : this.vault.seal(JSON.stringify(secrets));
        this.database
            .prepare("INSERT INTO builds (id, state, lane, document, secrets) VALUES (?, ?, ?, ?, ?)")
            .run(record.id, record.state, record.request.lane ?? null, JSON.stringify(record), sealed);
    }

    public get(id: string): BuildRecord | undefined {
        const row = this.database.prepare("SELECT document FROM builds WHERE id = ?").get(id);
        return row && parse(row);
    }

    public secrets(id: string): BuildSecrets {
        const row = this.database.prepare("SELECT secrets FROM builds WHERE id = ?").get(id);
        const sealed = row?.["secrets"];
        return sealed instanceof Uint8Array ? (JSON.parse(this.vault.unseal(sealed)) as BuildSecrets) : {};
    }

    public change(id: string, change: BuildChange): BuildRecord {
        const record = this.get(id);
        if (!record) {
            throw new Error(`there is no build ${id}`);
        }
        const changed: BuildRecord = { ...record, ...change };
        this.database
            .prepare("UPDATE builds SET state = ?, document = ? WHERE id = ?")
            .run(changed.state, JSON.stringify(changed), id);
        return changed;
    }

    /** What was asked is changed only while nothing has begun. */
    public changeRequest(id: string, request: BuildRequest): void {
        const record = this.get(id);
        if (record?.state !== "queued") {
            throw new Error(`the build ${id} is not queued`);
        }
        this.database
            .prepare("UPDATE builds SET lane = ?, document = ? WHERE id = ?")
            .run(request.lane ?? null, JSON.stringify({ ...record, request }), id);
    }

    /** Its events stay: whoever follows them is told that it is gone. */
    public remove(id: string): void {
        this.database.prepare("DELETE FROM builds WHERE id = ?").run(id);
    }

    /** The newest first. */
    public list(filter: BuildFilter = {}): readonly BuildRecord[] {
        const conditions: string[] = [];
        const values: (string | number)[] = [];
        const where = (condition: string, ...with_: (string | number)[]) => {
            conditions.push(condition);
            values.push(...with_);
        };
        if (filter.state) {
            where("state = ?", filter.state);
        }
        if (filter.lane !== undefined) {
            where("lane = ?", filter.lane);
        }
        if (filter.caller !== undefined) {
            where("json_extract(document, '$.caller') = ?", filter.caller);
        }
        if (filter.before !== undefined) {
            where("number < (SELECT number FROM builds WHERE id = ?)", filter.before);
        }
        for (const [label, value] of Object.entries(filter.labels ?? {})) {
            where(
                "EXISTS (SELECT 1 FROM json_each(document, '$.request.labels') AS l WHERE l.key = ? AND l.value = ?)",
                label,
                value,
            );
        }
        if (filter.text) {
            const fields = ["request.source", "request.ref", "buildTag", "commit", "message", "request.labels", "id"];
            const any = fields.map(
                (field) => `instr(lower(coalesce(json_extract(document, '$.${field}'), '')), ?) > 0`,
            );
            where(`(${any.join(" OR ")})`, ...fields.map(() => (filter.text ?? "").toLowerCase()));
        }
        const condition = conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`;
        return this.database
            .prepare(`SELECT document FROM builds ${condition} ORDER BY number DESC LIMIT ?`)
            .all(...values, filter.limit ?? -1)
            .map(parse);
    }

    /** Those of one state, the oldest first. */
    public inState(state: BuildState): readonly BuildRecord[] {
        return this.database
            .prepare("SELECT document FROM builds WHERE state = ? ORDER BY number")
            .all(state)
            .map(parse);
    }

    /** Those whose stacks are gone, and that ended before then (ISO 8601), the oldest first. */
    public endedBefore(time: string): readonly BuildRecord[] {
        return this.database
            .prepare(
                `SELECT document FROM builds WHERE json_extract(document, '$.endedAt') < ?
                 AND NOT json_extract(document, '$.kept') ORDER BY number`,
            )
            .all(time)
            .map(parse);
    }

    /** Those that have ended and whose stacks are still there, the oldest first. */
    public kept(): readonly BuildRecord[] {
        return this.database
            .prepare("SELECT document FROM builds WHERE json_extract(document, '$.kept') ORDER BY number")
            .all()
            .map(parse);
    }

    public count(state: BuildState): number {
        const row = this.database.prepare("SELECT count(*) AS n FROM builds WHERE state = ?").get(state);
        return Number(row?.["n"] ?? 0);
    }

    public addEvent(build: string, type: BuildEvent["type"], data: BuildEvent["data"], at: string): BuildEvent {
        const { lastInsertRowid } = this.database
            .prepare("INSERT INTO events (build, at, type, data) VALUES (?, ?, ?, ?)")
            .run(build, at, type, JSON.stringify(data));
        return { seq: Number(lastInsertRowid), build, at, type, data };
    }

    /** What happened after `seq`, of one build or of all. */
    public events(after: number, build?: string, limit = 1000): readonly BuildEvent[] {
        const rows =
            build === undefined
                ? this.database.prepare("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?").all(after, limit)
                : this.database
                      .prepare("SELECT * FROM events WHERE build = ? AND seq > ? ORDER BY seq LIMIT ?")
                      .all(build, after, limit);
        return rows.map((row) => ({
            seq: Number(row["seq"]),
            build: String(row["build"]),
            at: String(row["at"]),
            type: String(row["type"]) as BuildEvent["type"],
            data: JSON.parse(String(row["data"])) as BuildEvent["data"],
        }));
    }
}

function parse(row: unknown): BuildRecord {
    return JSON.parse((row as Row).document) as BuildRecord;
}
