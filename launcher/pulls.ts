import type { TimedEvent } from "./eventTimes";

/**
 * What kubelet says of the images of a pod's containers, in a few words: `build 1.2 s (139 MB), exporter there already`
 * (pkg/kubelet/images/image_manager.go). The time is that of the pull, with its wait for other pulls.
 */
export function pullsOf(events: readonly TimedEvent[]): string | undefined {
    const pulls = events
        .filter(({ reason }) => reason === "Pulled")
        .sort((a, b) => a.at - b.at)
        .map(({ fieldPath, message }) => [/\{(.*)\}/.exec(fieldPath)?.[1] ?? "", pullOf(message)] as const);
    const there = pulls.filter(([, pull]) => pull === undefined).map(([container]) => container);
    const made = pulls.filter(([, pull]) => pull !== undefined).map((words) => words.join(" "));
    if (made.length === 0) {
        return there.length > 0 ? "all were there already" : undefined;
    }
    return [...made, ...(there.length > 0 ? [`${there.join(" and ")} there already`] : [])].join(", ");
}

/** Undefined where nothing was pulled. */
function pullOf(message: string): string | undefined {
    const taken = /\bin ([0-9hmsµu.]+)(?: \(([0-9hmsµu.]+) including waiting\))?/.exec(message);
    const seconds = goSeconds(taken?.[2] ?? taken?.[1] ?? "");
    if (!taken || seconds === undefined) {
        return undefined;
    }
    const bytes = Number(/Image size: (\d+) bytes/.exec(message)?.[1] ?? 0);
    return `${seconds.toFixed(1)} s${bytes > 0 ? ` (${Math.max(1, Math.round(bytes / 1e6))} MB)` : ""}`;
}

const units: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1, ms: 1e-3, µs: 1e-6, us: 1e-6, ns: 1e-9 };

/** The seconds of a duration as Go writes it: `1m2.5s`, `376ms`. */
export function goSeconds(text: string): number | undefined {
    const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s|µs|us|ns)/g)];
    return parts.length === 0 || parts.map(([part]) => part).join("") !== text
        ? undefined
        : parts.reduce((sum, [, number, unit]) => sum + Number(number) * (units[unit ?? ""] ?? 0), 0);
}
