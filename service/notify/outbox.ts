import type { DatabaseSync } from "node:sqlite";

import { inTransaction } from "../transaction";

/** Something that the service owes to a build's callback. */
export interface Owed {
    /** The same for every try. */
    readonly id: string;
    readonly build: string;
    /** The state that it tells of. */
    readonly state: string;
    readonly contentType: string;
    readonly body: string;
    readonly tries: number;
    readonly createdAt: string;
}

/** What an event makes due. */
export interface NewlyOwed extends Omit<Owed, "tries" | "createdAt"> {
    readonly seq: number;
}

export type CallbackStatus = "pending" | "delivered" | "failed";

/** One try at telling it. */
export interface CallbackTry {
    readonly at: string;
    readonly milliseconds: number;
    /** The status of the answer; absent where there was none. */
    readonly status?: number;
    /** Why it was not taken. */
    readonly problem?: string;
}

/** What became of a callback, for a person. */
export interface CallbackRecord {
    readonly id: string;
    readonly state: string;
    readonly status: CallbackStatus;
    readonly createdAt: string;
    /** When it is tried again. */
    readonly nextTry?: string;
    readonly tries: readonly CallbackTry[];
}

const schema = `
    CREATE TABLE IF NOT EXISTS callbacks (
        number       INTEGER PRIMARY KEY AUTOINCREMENT,
        id           TEXT NOT NULL UNIQUE,
        build        TEXT NOT NULL,
        seq          INTEGER NOT NULL UNIQUE,
        state        TEXT NOT NULL,
        content_type TEXT NOT NULL,
        body         TEXT NOT NULL,
        status       TEXT NOT NULL,
        due          INTEGER NOT NULL,
        created_at   TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS callbacks_by_status ON callbacks (status, build, number);
    CREATE INDEX IF NOT EXISTS callbacks_by_build ON callbacks (build, number);
    CREATE TABLE IF NOT EXISTS callback_tries (
        callback     TEXT NOT NULL,
        at           TEXT NOT NULL,
        milliseconds INTEGER NOT NULL,
        status       INTEGER,
        problem      TEXT
    ) STRICT;
    CREATE INDEX IF NOT EXISTS callback_tries_by_callback ON callback_tries (callback);
    CREATE TABLE IF NOT EXISTS callback_cursor (only INTEGER PRIMARY KEY CHECK (only = 1), seq INTEGER NOT NULL) STRICT;
`;

/**
 * What is owed to callbacks, in tables beside the queue's: it outlives the service, and says afterwards what became of it.
 * It is filled from the queue's events; a cursor remembers up to which.
 */
export class Outbox {
    public constructor(private readonly database: DatabaseSync) {
        database.exec(schema);
    }

    /** The event up to which all is here. */
    public get cursor(): number {
        return Number(this.database.prepare("SELECT seq FROM callback_cursor").get()?.["seq"] ?? 0);
    }

    /** Takes in what events make due, and moves the cursor past them: both or neither. */
    public add(owed: readonly NewlyOwed[], cursor: number): void {
        const insert = this.database.prepare(
            "INSERT OR IGNORE INTO callbacks (id, build, seq, state, content_type, body, status, due, created_at) " +
                "VALUES (?, ?, ?, ?, ?, ?, 'pending', 0, ?)",
        );
        inTransaction(this.database, () => {
            const now = new Date().toISOString();
            for (const { id, build, seq, state, contentType, body } of owed) {
                insert.run(id, build, seq, state, contentType, body, now);
            }
            this.database
                .prepare("INSERT INTO callback_cursor VALUES (1, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq")
                .run(cursor);
        });
    }

    /** Of each build the first that is pending, if it is due by `now`; builds in `except` are left out. */
    public due(now: number, except: ReadonlySet<string>, limit: number): readonly Owed[] {
        return this.database
            .prepare(
                "SELECT *, (SELECT count(*) FROM callback_tries WHERE callback = c.id) AS tries FROM callbacks AS c " +
                    "WHERE number IN (SELECT min(number) FROM callbacks WHERE status = 'pending' GROUP BY build) " +
                    "AND due <= ? AND build NOT IN (SELECT value FROM json_each(?)) ORDER BY due, number LIMIT ?",
            )
            .all(now, JSON.stringify([...except]), limit)
            .map((row) => ({
                id: String(row["id"]),
                build: String(row["build"]),
                state: String(row["state"]),
                contentType: String(row["content_type"]),
                body: String(row["body"]),
                tries: Number(row["tries"]),
                createdAt: String(row["created_at"]),
            }));
    }

    /** When the next one is due, in milliseconds since 1970. */
    public nextDue(except: ReadonlySet<string>): number | undefined {
        const row = this.database
            .prepare(
                "SELECT min(due) AS due FROM callbacks WHERE number IN " +
                    "(SELECT min(number) FROM callbacks WHERE status = 'pending' GROUP BY build) " +
                    "AND build NOT IN (SELECT value FROM json_each(?))",
            )
            .get(JSON.stringify([...except]));
        const due = row?.["due"];
        return due === null || due === undefined ? undefined : Number(due);
    }

    /** Records a try, and what follows from it. */
    public tried(id: string, entry: CallbackTry, status: CallbackStatus, due: number): void {
        this.database
            .prepare("INSERT INTO callback_tries (callback, at, milliseconds, status, problem) VALUES (?, ?, ?, ?, ?)")
            .run(id, entry.at, entry.milliseconds, entry.status ?? null, entry.problem ?? null);
        this.database.prepare("UPDATE callbacks SET status = ?, due = ? WHERE id = ?").run(status, due, id);
    }

    /** How many are pending: of one build, or of all. */
    public pending(build?: string): number {
        const count = "SELECT count(*) AS n FROM callbacks WHERE status = 'pending'";
        const row =
            build === undefined
                ? this.database.prepare(count).get()
                : this.database.prepare(`${count} AND build = ?`).get(build);
        return Number(row?.["n"] ?? 0);
    }

    /** The callbacks of a build, in their order. */
    public of(build: string): readonly CallbackRecord[] {
        const tries = this.database.prepare("SELECT * FROM callback_tries WHERE callback = ? ORDER BY rowid");
        return this.database
            .prepare("SELECT * FROM callbacks WHERE build = ? ORDER BY number")
            .all(build)
            .map((row) => ({
                id: String(row["id"]),
                state: String(row["state"]),
                status: String(row["status"]) as CallbackStatus,
                createdAt: String(row["created_at"]),
                ...(row["status"] === "pending" && Number(row["due"]) > 0
                    ? { nextTry: new Date(Number(row["due"])).toISOString() }
                    : {}),
                tries: tries.all(String(row["id"])).map((made) => ({
                    at: String(made["at"]),
                    milliseconds: Number(made["milliseconds"]),
                    ...(made["status"] === null ? {} : { status: Number(made["status"]) }),
                    ...(made["problem"] === null ? {} : { problem: String(made["problem"]) }),
                })),
            }));
    }

    public forget(build: string): void {
        this.database
            .prepare("DELETE FROM callback_tries WHERE callback IN (SELECT id FROM callbacks WHERE build = ?)")
            .run(build);
        this.database.prepare("DELETE FROM callbacks WHERE build = ?").run(build);
    }
}
