import type { Page } from "playwright-core";

/** How smooth a page was while something went on, in milliseconds. */
export interface Smoothness {
    /** The longest time in which the page could not answer; 0 where none was longer than 50. */
    readonly longestTask: number;
    /** Between two frames: the median, one of twenty, the longest. */
    readonly median: number;
    readonly p95: number;
    readonly longest: number;
    readonly frames: number;
}

/** Begins to watch the frames, and the long tasks as the browser reports them. */
export async function watchFrames(page: Page): Promise<void> {
    await page.evaluate(`(() => {
        const watch = (globalThis.ke1Watch = { tasks: [], frames: [], on: true });
        watch.observer = new PerformanceObserver((list) => watch.tasks.push(...list.getEntries().map((e) => e.duration)));
        watch.observer.observe({ type: "longtask" });
        let before = performance.now();
        const frame = (now) => {
            watch.frames.push(now - before);
            before = now;
            if (watch.on) requestAnimationFrame(frame);
        };
        requestAnimationFrame(frame);
    })()`);
}

export async function smoothness(page: Page): Promise<Smoothness> {
    const { tasks, frames } = await page.evaluate<{ tasks: number[]; frames: number[] }>(`(() => {
        const watch = globalThis.ke1Watch;
        watch.on = false;
        watch.tasks.push(...watch.observer.takeRecords().map((entry) => entry.duration));
        watch.observer.disconnect();
        return { tasks: watch.tasks, frames: watch.frames.slice(1) };
    })()`);
    const sorted = [...frames].sort((a, b) => a - b);
    const at = (share: number) => Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? 0);
    return {
        longestTask: Math.round(Math.max(0, ...tasks)),
        ...{ median: at(0.5), p95: at(0.95), longest: at(1), frames: frames.length },
    };
}
