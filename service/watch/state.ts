import { randomBytes } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";

/** What is remembered of a branch or tag. */
export interface KnownRef {
    /** The repository's address. */
    readonly repository: string;
    /** The full name. */
    readonly ref: string;
    readonly lane: string;
    readonly commit: string;
    /** The build of that commit; absent for a tag that was there before it was watched. */
    readonly build?: string;
}

const schema = `
    CREATE TABLE IF NOT EXISTS watch_refs (
        repository TEXT NOT NULL,
        ref        TEXT NOT NULL,
        lane       TEXT NOT NULL,
        commit_id  TEXT NOT NULL,
        build      TEXT,
        PRIMARY KEY (repository, ref)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS watch_notes (
        name  TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS watch_deliveries (
        id TEXT PRIMARY KEY,
        at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS watch_deliveries_by_time ON watch_deliveries (at);
`;

/** GitHub gives out a delivery again for three days (https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks). */
const deliveryLifetime = 30 * 24 * 3600 * 1000;

/** What a watcher knows beyond its own life: in the queue's file, beside the builds. */
export class WatchState {
    /** Tells this watcher's stacks and namespaces from those of another on the same cluster. */
    public readonly owner: string;

    public constructor(private readonly database: DatabaseSync) {
        database.exec(schema);
        this.note("owner", randomBytes(8).toString("hex"));
        const row = database.prepare("SELECT value FROM watch_notes WHERE name = 'owner'").get();
        this.owner = String(row?.["value"]);
    }

    public known(repository: string): readonly KnownRef[] {
        return this.database
            .prepare("SELECT * FROM watch_refs WHERE repository = ? ORDER BY ref")
            .all(repository)
            .map((row) => ({
                repository: String(row["repository"]),
                ref: String(row["ref"]),
                lane: String(row["lane"]),
                commit: String(row["commit_id"]),
                ...(typeof row["build"] === "string" ? { build: row["build"] } : {}),
            }));
    }

    public remember({ repository, ref, lane, commit, build }: KnownRef): void {
        this.database
            .prepare(
                `INSERT INTO watch_refs (repository, ref, lane, commit_id, build) VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT (repository, ref) DO UPDATE
                 SET lane = excluded.lane, commit_id = excluded.commit_id, build = excluded.build`,
            )
            .run(repository, ref, lane, commit, build ?? null);
    }

    public forget(repository: string, ref: string): void {
        this.database.prepare("DELETE FROM watch_refs WHERE repository = ? AND ref = ?").run(repository, ref);
    }

    /** @returns whether it is new: noted now, and never before */
    public note(name: string, value: string): boolean {
        const { changes } = this.database
            .prepare("INSERT INTO watch_notes (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .run(name, value);
        return Number(changes) > 0;
    }

    /** @returns whether none of these deliveries has been here before; they have from now on */
    public takeDelivery(ids: readonly string[], now = Date.now()): boolean {
        this.database.prepare("DELETE FROM watch_deliveries WHERE at < ?").run(now - deliveryLifetime);
        const insert = this.database.prepare(
            "INSERT INTO watch_deliveries (id, at) VALUES (?, ?) ON CONFLICT DO NOTHING",
        );
        const added = ids.map((id) => Number(insert.run(id, now).changes));
        return added.every((count) => count > 0);
    }
}
