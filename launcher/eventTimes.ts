import { setTimeout } from "node:timers/promises";

import type { CoreV1Event } from "@kubernetes/client-node";
import { CoreV1Api } from "@kubernetes/client-node";

import type { Cluster } from "./cluster";

/** A point in time, in milliseconds since 1970, and whether it is known better than to a second. */
export interface Instant {
    readonly at: number;
    readonly exact: boolean;
}

/** What Kubernetes says has befallen an object, and when. */
export interface TimedEvent extends Instant {
    readonly object: string;
    readonly reason: string;
    readonly message: string;
    /** `spec.containers{build}`, where it is about a container. */
    readonly fieldPath: string;
    readonly component: string;
}

/**
 * When an event happened. Most components write whole seconds into it, and the nanoseconds into its name
 * (client-go, tools/record/util/util.go, `GenerateEventName`), which counts where both are of the same second.
 */
export function instantOf(event: CoreV1Event): Instant | undefined {
    const { eventTime, firstTimestamp, metadata } = event;
    if (eventTime) {
        return { at: new Date(eventTime).getTime(), exact: true };
    }
    const whole = firstTimestamp ?? metadata.creationTimestamp;
    if (!whole) {
        return undefined;
    }
    const seconds = Math.floor(new Date(whole).getTime() / 1000);
    const named = /\.([0-9a-f]{15,16})$/.exec(metadata.name ?? "")?.[1];
    const milliseconds = named === undefined ? NaN : Number(BigInt(`0x${named}`) / 1000n) / 1000;
    return Math.floor(milliseconds / 1000) === seconds
        ? { at: milliseconds, exact: true }
        : { at: seconds * 1000, exact: false };
}

/** The instants of a list of events; those that have none are left out. */
export function timed(events: readonly CoreV1Event[]): readonly TimedEvent[] {
    return events.flatMap((event) => {
        const instant = instantOf(event);
        return instant
            ? {
                  ...instant,
                  object: event.involvedObject.name ?? "",
                  reason: event.reason ?? "",
                  message: event.message ?? "",
                  fieldPath: event.involvedObject.fieldPath ?? "",
                  component: event.reportingComponent || (event.source?.component ?? ""),
              }
            : [];
    });
}

/** More names than this are looked up together. */
const fewNames = 4;
/** A list of more events than this takes the launcher's time from builds that go on. */
const manyEvents = 500;
/** After such a list there is none for so many times as long as it took. */
const rest = 20;

interface Wish {
    readonly names: readonly string[];
    readonly resolve: (events: readonly TimedEvent[]) => void;
}

/**
 * Reads the events of builds. The API server goes through all events of a namespace for each list of them: while one list is
 * under way, whoever asks waits for the next, which is one for all, so that a thousand builds need no thousand lists.
 */
export class EventTimes {
    private static readonly ofCluster = new WeakMap<Cluster, Map<string, EventTimes>>();
    private readonly wishes: Wish[] = [];
    private isReading = false;

    public constructor(
        private readonly core: Pick<CoreV1Api, "listNamespacedEvent">,
        private readonly namespace: string,
    ) {}

    /** One for all builds of a namespace. */
    public static in(cluster: Cluster, namespace: string): EventTimes {
        const known = EventTimes.ofCluster.get(cluster) ?? new Map<string, EventTimes>();
        EventTimes.ofCluster.set(cluster, known);
        const made = known.get(namespace) ?? new EventTimes(cluster.client(CoreV1Api), namespace);
        known.set(namespace, made);
        return made;
    }

    /** All events of these objects; none where they cannot be read. Never rejects. */
    public async of(names: readonly string[]): Promise<readonly TimedEvent[]> {
        return new Promise((resolve) => {
            this.wishes.push({ names, resolve });
            void this.read();
        });
    }

    private async read(): Promise<void> {
        if (this.isReading) {
            return;
        }
        this.isReading = true;
        while (this.wishes.length > 0) {
            const wishes = this.wishes.splice(0);
            const names = [...new Set(wishes.flatMap((wish) => wish.names))];
            const begun = performance.now();
            // Without the permission to read events there are other, coarser clocks.
            const events = await this.list(names).catch(() => []);
            wishes.forEach((wish) => wish.resolve(events.filter(({ object }) => wish.names.includes(object))));
            if (events.length > manyEvents) {
                await setTimeout(rest * (performance.now() - begun), undefined, { ref: false });
            }
        }
        this.isReading = false;
    }

    private async list(names: readonly string[]): Promise<readonly TimedEvent[]> {
        const { namespace } = this;
        const selectors =
            names.length > fewNames ? ["type=Normal"] : names.map((name) => `involvedObject.name=${name}`);
        const lists = selectors.map(async (fieldSelector) =>
            this.core.listNamespacedEvent({ namespace, fieldSelector }),
        );
        return timed((await Promise.all(lists)).flatMap(({ items }) => items));
    }
}
