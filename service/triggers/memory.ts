import { randomUUID } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";

import { inTransaction } from "../transaction";

/** A digest that a tag was found to stand for. */
export interface Sighting {
    readonly tag: string;
    readonly digest: string;
}

/** A sighting that a build is to be made of, and by which that build is known. */
export interface Pending extends Sighting {
    readonly run: string;
    /** ISO 8601. */
    readonly at: string;
}

/** What is remembered of a trigger. */
export interface TriggerState {
    /** The tag that was last built or, at first, found; empty for none. */
    readonly current: string;
    /** The last build that it has started. */
    readonly build: string | undefined;
    /** The newest digest that waits for that build's end. */
    readonly pending: Pending | undefined;
}

const schema = `
    CREATE TABLE IF NOT EXISTS triggers (
        name    TEXT PRIMARY KEY,
        watched TEXT NOT NULL,
        current TEXT NOT NULL,
        build   TEXT,
        pending TEXT
    ) STRICT;
    CREATE TABLE IF NOT EXISTS trigger_digests (
        trigger TEXT NOT NULL,
        tag     TEXT NOT NULL,
        digest  TEXT NOT NULL,
        at      TEXT NOT NULL,
        PRIMARY KEY (trigger, tag)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS trigger_service (id TEXT NOT NULL) STRICT;
`;

/** What triggers have seen and started, in the service's database: a restart neither forgets a digest nor sees one anew. */
export class TriggerMemory {
    public constructor(
        private readonly database: DatabaseSync,
        private readonly now: () => Date = () => new Date(),
    ) {
        database.exec(schema);
    }

    /** Tells the lanes of this service from those of another with triggers of the same names, on the same cluster. */
    public serviceId(): string {
        return inTransaction(this.database, () => {
            const row = this.database.prepare("SELECT id FROM trigger_service").get();
            const id = row ? String(row["id"]) : randomUUID().slice(0, 8);
            if (!row) {
                this.database.prepare("INSERT INTO trigger_service (id) VALUES (?)").run(id);
            }
            return id;
        });
    }

    /**
     * @param watched repository and policy: of a trigger that watches something else now, nothing is known
     * @returns undefined before the first look
     */
    public state(name: string, watched: string): TriggerState | undefined {
        const row = this.database.prepare("SELECT * FROM triggers WHERE name = ? AND watched = ?").get(name, watched);
        return (
            row && {
                current: String(row["current"]),
                build: typeof row["build"] === "string" ? row["build"] : undefined,
                pending: typeof row["pending"] === "string" ? (JSON.parse(row["pending"]) as Pending) : undefined,
            }
        );
    }

    /** What a trigger's tags were last found to stand for. */
    public digests(name: string): ReadonlyMap<string, string> {
        const rows = this.database.prepare("SELECT tag, digest FROM trigger_digests WHERE trigger = ?").all(name);
        return new Map(rows.map((row) => [String(row["tag"]), String(row["digest"])]));
    }

    /**
     * Takes down what a look has found.
     *
     * @param found the most wanted last
     * @param runsFirst whether the first look counts
     * @returns what is to be built now; undefined where nothing is new
     */
    public observe(name: string, watched: string, found: readonly Sighting[], runsFirst: boolean): Pending | undefined {
        return inTransaction(this.database, () => {
            const state = this.state(name, watched);
            if (!state) {
                this.database.prepare("DELETE FROM trigger_digests WHERE trigger = ?").run(name);
            }
            const known = this.digests(name);
            const changed = found.filter(({ tag, digest }) => known.get(tag) !== digest);
            const at = this.now().toISOString();
            for (const { tag, digest } of changed) {
                this.database
                    .prepare("INSERT OR REPLACE INTO trigger_digests (trigger, tag, digest, at) VALUES (?, ?, ?, ?)")
                    .run(name, tag, digest, at);
            }
            const newest = changed.at(-1);
            const pending = newest && (state || runsFirst) ? { ...newest, at, run: randomUUID() } : state?.pending;
            const current = state?.current ?? found.at(-1)?.tag ?? "";
            // Also where nothing was found: what comes then is new.
            this.put(name, watched, { current, build: state?.build, pending });
            return pending;
        });
    }

    /** A build was started of what was pending; something newer may be pending by now. */
    public started(name: string, watched: string, { run, tag }: Pending, build: string): void {
        inTransaction(this.database, () => {
            const state = this.state(name, watched);
            const pending = state?.pending?.run === run ? undefined : state?.pending;
            this.put(name, watched, { current: tag, build, pending });
        });
    }

    private put(name: string, watched: string, { current, build, pending }: TriggerState): void {
        this.database
            .prepare("INSERT OR REPLACE INTO triggers (name, watched, current, build, pending) VALUES (?, ?, ?, ?, ?)")
            .run(name, watched, current, build ?? null, pending ? JSON.stringify(pending) : null);
    }
}
