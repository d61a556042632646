import * as fs from "node:fs";
import * as path from "node:path";

import { BuildQueue } from "../../service/queue";
import { Runner } from "../../service/runner";
import type { ServiceSettings } from "../../service/settings";
import { serviceDefaults } from "../../service/settings";
import { noSources } from "../../service/sourceProvider";
import { QueueStore } from "../../service/store";
import type { WatchEvent } from "../../service/watch/events";
import { watchedSources } from "../../service/watch/source";
import { WatchState } from "../../service/watch/state";
import { Watcher } from "../../service/watch/watcher";
import { readWatched, type WatchDefaults } from "../../service/watch/watchFile";
import { projectDirectory } from "./ke1";
import { TemporaryDirectory } from "./temporary";

/**
 * Launches nothing: `up` waits for a file that is called as the BUILD_TAG, and ends with the exit code in it. Says in
 * `calls` what it was asked for.
 */
const launcher = `#!/bin/sh
[ "$1" != resolve-source ] || exec '${projectDirectory}/bin/ke1' "$@"
echo "$1 $SOURCE $BUILD_TAG" >> "$KE1_TEST_GATE/calls"
[ "$1" = up ] || exit 0
trap 'exit 130' INT
while [ ! -e "$KE1_TEST_GATE/$BUILD_TAG" ]; do sleep 0.05; done
code=$(cat "$KE1_TEST_GATE/$BUILD_TAG")
echo '{"outputs":{}}'
exit "\${code:-0}"
`;

/** Those events that have a name, in order. */
export function toldOf<Name extends WatchEvent["event"]>(
    events: readonly WatchEvent[],
    name: Name,
): readonly Extract<WatchEvent, { readonly event: Name }>[] {
    return events.filter((event): event is Extract<WatchEvent, { readonly event: Name }> => event.event === name);
}

/** A watcher with a queue, both as they are, on builds that end when a test says so. */
export class Watching {
    public readonly events: WatchEvent[] = [];
    private readonly data = new TemporaryDirectory();
    private readonly gate = new TemporaryDirectory();
    private opened: { store: QueueStore; queue: BuildQueue; watcher: Watcher; state: WatchState } | undefined;

    public constructor(
        private readonly targets: readonly string[],
        private readonly options: WatchDefaults & { readonly interval?: number; readonly parallel?: number } = {},
    ) {
        this.gate.file("ke1", launcher, 0o755);
    }

    /** As a process that begins does. */
    public async open(): Promise<void> {
        const settings: ServiceSettings = {
            dataDirectory: this.data.path,
            projectDirectory,
            baseStack: "dev",
            parallel: this.options.parallel ?? serviceDefaults.parallel,
            timeoutSeconds: 60,
            namespaces: [],
            noCache: false,
            extraBuildArgs: {},
            allowSources: [],
            localSources: false,
            showLogs: false,
            ke1: [path.join(this.gate.path, "ke1")],
        };
        const store = QueueStore.open(settings.dataDirectory);
        const runner = new Runner(settings, watchedSources(noSources), {
            ...process.env,
            KE1_TEST_GATE: this.gate.path,
            PULUMI_CONFIG_PASSPHRASE: "x",
        });
        const queue = new BuildQueue(store, runner, settings, () => "http://127.0.0.1/container");
        const state = new WatchState(store.database);
        const { interval = 0.05, ...defaults } = this.options;
        const watcher = new Watcher({
            ...{ queue, state, interval, ownNamespaces: true },
            repositories: await readWatched(this.targets, "/", defaults),
            dataDirectory: settings.dataDirectory,
            tell: (event) => this.events.push(event),
        });
        this.opened = { store, queue, watcher, state };
        queue.start();
    }

    public async start(): Promise<void> {
        await this.open();
        void this.watcher.start();
    }

    public get watcher(): Watcher {
        return this.open_.watcher;
    }

    public get state(): WatchState {
        return this.open_.state;
    }

    public get queue(): BuildQueue {
        return this.open_.queue;
    }

    /** What of builds' sources is on the disk. */
    public workingCopies(): readonly string[] {
        const builds = path.join(this.data.path, "builds");
        return fs.readdirSync(builds).filter((id) => fs.existsSync(path.join(builds, id, "source")));
    }

    /** Lets the build of a tag end. */
    public finish(buildTag: string, exitCode = 0): void {
        this.gate.file(buildTag, String(exitCode));
    }

    /** What of an event there has been, in order. */
    public told<Name extends WatchEvent["event"]>(
        name: Name,
    ): readonly Extract<WatchEvent, { readonly event: Name }>[] {
        return toldOf(this.events, name);
    }

    /** Until so many of an event have been told. */
    public async until(name: WatchEvent["event"], count = 1): Promise<void> {
        await eventually(
            `${count} ${name}`,
            () => this.told(name).length >= count,
            () => JSON.stringify(this.events),
        );
    }

    /** As a process that ends in order does. */
    public async close(): Promise<void> {
        const { opened } = this;
        this.opened = undefined;
        await opened?.watcher.stop();
        await opened?.queue.stop();
        opened?.store.close();
    }

    public async remove(): Promise<void> {
        await this.close();
        this.data.remove();
        this.gate.remove();
    }

    private get open_() {
        if (!this.opened) {
            throw new Error("nothing is watched");
        }
        return this.opened;
    }
}

export async function eventually(
    what: string,
    condition: () => boolean,
    detail: () => string = () => "",
    limit = 20_000,
): Promise<void> {
    const end = performance.now() + limit;
    while (!condition()) {
        if (performance.now() > end) {
            throw new Error(`not within ${limit} ms: ${what} ${detail()}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}
