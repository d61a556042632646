/** Seconds, from `1h30m`, `90s` or a number of seconds. The schema says what may be written. */
export function secondsOf(duration: string | number): number {
    if (typeof duration === "number") {
        return duration;
    }
    const match = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(duration);
    const [hours, minutes, seconds] = [1, 2, 3].map((group) => Number(match?.[group] ?? 0));
    return (hours ?? 0) * 3600 + (minutes ?? 0) * 60 + (seconds ?? 0);
}

/** As it may be written: `1h30m`. */
export function durationOf(seconds: number): string {
    const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
    return parts.map((part, index) => (part === 0 ? "" : `${part}${"hms"[index] ?? ""}`)).join("") || "0s";
}
