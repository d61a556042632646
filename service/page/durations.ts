import type { BuildRecord } from "../build";
import { durationText, secondsOf, timeText } from "./format";
import type { Markup } from "./html";
import { html } from "./html";

const mostBars = 60;
const [width, height, left, bottom, top] = [1120, 170, 56, 12, 12];

/**
 * How long builds took, the oldest first: a bar each, with a link, and a line at the median. Drawn here, so that it is
 * there without JavaScript; the same is in a table below it.
 *
 * @param builds the newest first
 */
export function durationsOf(builds: readonly BuildRecord[], current?: string): Markup | undefined {
    const bars = builds
        .flatMap((build) => {
            const seconds = build.endedAt === undefined ? undefined : secondsOf(build, new Date());
            return seconds === undefined ? [] : [{ build, seconds }];
        })
        .slice(0, mostBars)
        .reverse();
    if (bars.length < 2) {
        return undefined;
    }
    const sorted = bars.map(({ seconds }) => seconds).sort((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
    const longest = sorted.at(-1) ?? 0;
    const highest = ceiling(longest);
    const y = (seconds: number) => round(height - bottom - (seconds / highest) * (height - bottom - top));
    const step = Math.min(28, (width - left) / bars.length);
    const summary =
        `The last ${bars.length} builds took ${durationText(median)} in the median, ` +
        `${durationText(longest)} at the longest.`;
    return html`<figure class="durations">
        <svg viewBox="0 0 ${width} ${height}" role="group" aria-label="Durations of the last ${bars.length} builds">
            ${[0, highest / 2, highest].map(
                (seconds) =>
                    html`<line class="tick" x1="${left}" x2="${width}" y1="${y(seconds)}" y2="${y(seconds)}" />
                        <text
                            class="tick-text"
                            x="${left - 8}"
                            y="${y(seconds) + 4}"
                            text-anchor="end"
                            aria-hidden="true"
                            >${tickText(seconds)}</text
                        >`,
            )}
            ${bars.map(({ build, seconds }, index) => {
                const label = `${build.buildTag ?? build.id}: ${build.state}, ${durationText(seconds)}, ${timeText(build.createdAt)}`;
                const x = round(left + index * step + step * 0.12);
                const barTop = Math.min(y(seconds), height - bottom - 2);
                return html`<a
                    href="/builds/${encodeURIComponent(build.id)}"
                    aria-label="${label}"
                    ${build.id === current && html` aria-current="true"`}
                >
                    <title>${label}</title
                    ><rect
                        class="hit"
                        x="${round(left + index * step)}"
                        y="${top}"
                        width="${round(step)}"
                        height="${height - bottom - top}" />
                    <rect
                        class="bar ${build.state}"
                        x="${x}"
                        y="${barTop}"
                        width="${round(step * 0.76)}"
                        height="${round(height - bottom - barTop)}"
                        rx="1.5"
                /></a>`;
            })}
            <line class="median" x1="${left}" x2="${width}" y1="${y(median)}" y2="${y(median)}" />
        </svg>
        <figcaption>${summary}</figcaption>
    </figure>`;
}

/** A round number not less than this: 1, 2, 5, 10, 20, 30, 60 seconds, and so on in minutes and hours. */
function ceiling(seconds: number): number {
    const steps = [1, 2, 4, 10, 20, 30, 60, 120, 240, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 86_400];
    return steps.find((step) => step >= seconds) ?? Math.ceil(seconds / 86_400) * 86_400;
}

function tickText(seconds: number): string {
    if (seconds >= 3600) {
        return `${seconds / 3600} h`;
    }
    return seconds >= 120 ? `${seconds / 60} min` : `${seconds} s`;
}

function round(value: number): number {
    return Math.round(value * 10) / 10;
}
