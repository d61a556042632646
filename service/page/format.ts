import type { BuildRecord, BuildState } from "../build";

/** `2 h 5 min`, `1 min 12 s`, `3.4 s`. */
export function durationText(seconds: number): string {
    if (seconds < 59.95) {
        return `${seconds < 9.95 ? Math.max(0, seconds).toFixed(1) : Math.round(seconds)} s`;
    }
    const whole = Math.round(seconds);
    const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${rest} s`;
}

/** `1.2 MiB`. */
export function sizeText(bytes: number): string {
    const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let [value, unit] = [bytes, 0];
    while (value >= 1023.95 && unit < units.length - 1) {
        value /= 1024;
        unit += 1;
    }
    return `${unit === 0 ? value : value.toFixed(1)} ${unit === 0 && value === 1 ? "byte" : (units[unit] ?? "")}`;
}

/** `2026-11-21 18:40:02 UTC`. */
export function timeText(iso: string): string {
    const time = new Date(iso);
    return Number.isNaN(time.getTime()) ? iso : `${time.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** `2026-11-21 18:40`, where it is said that it is UTC. */
export function minuteText(iso: string): string {
    return timeText(iso).slice(0, 16);
}

/** From its start to its end, or to now. */
export function secondsOf(build: BuildRecord, now: Date): number | undefined {
    if (build.startedAt === undefined) {
        return undefined;
    }
    const end = build.endedAt === undefined ? now.getTime() : Date.parse(build.endedAt);
    return Math.max(0, (end - Date.parse(build.startedAt)) / 1000);
}

/** A sign beside each state's word, so that colour is not all that tells them apart. */
export const stateSigns: Readonly<Record<BuildState, string>> = {
    queued: "◷",
    running: "▶",
    succeeded: "✓",
    failed: "✕",
    cancelled: "⊘",
};

/** What a person knows a build by: its application or repository, else its source. */
export function nameOf(build: BuildRecord): string {
    const { labels, source } = build.request;
    return labels["app"] ?? labels["repo"] ?? shortSource(source);
}

/** A source in a few words: a data URI is mostly data. */
export function shortSource(source: string): string {
    if (source.startsWith("data:")) {
        return `${source.slice(0, 32)}… (${sizeText(source.length)})`;
    }
    const short = source.replace(/^https?:\/\//, "");
    return short.length <= 120 ? short : `${short.slice(0, 117)}…`;
}
