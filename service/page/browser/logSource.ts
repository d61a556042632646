import { pause, sliceMilliseconds } from "./element";

/** Between two looks at a log that grows, in milliseconds: seen, and not seen. */
const interval = { shown: 1000, hidden: 5000 };
const longestWait = 15_000;

export interface LogObserver {
    readonly text: (text: string) => void;
    /** It is another attempt's log from here on. */
    readonly begin: () => void;
    /** Undefined when all is well again. */
    readonly problem: (text: string | undefined) => void;
    /** There will be no more. */
    readonly end: () => void;
}

/** Brings a log's bytes here as they come. */
export class LogSource {
    private offset = 0;
    private attempt: string | undefined;
    private decoder = new TextDecoder();
    private wake: () => void = () => undefined;

    public constructor(
        private readonly address: string,
        /** Whether all of the log is in the store. */
        private readonly isComplete: () => boolean,
        private readonly observer: LogObserver,
    ) {}

    /** Looks at once: there may be more. */
    public look(): void {
        this.wake();
    }

    public async run(): Promise<void> {
        let failures = 0;
        for (;;) {
            const isComplete = this.isComplete();
            let isMore = false;
            try {
                isMore = await this.read();
                failures = 0;
                this.observer.problem(undefined);
            } catch (error) {
                if (error instanceof LoggedOut) {
                    this.observer.problem("The session has ended: load the page anew to log in.");
                    return;
                }
                failures += 1;
                this.observer.problem("The service does not answer; it is asked again.");
            }
            if (failures === 0 && !isMore && isComplete) {
                this.observer.end();
                return;
            }
            if (!isMore) {
                const usual = document.hidden ? interval.hidden : interval.shown;
                await this.sleep(Math.min(longestWait, usual * 2 ** failures));
            }
        }
    }

    /** @returns whether there was anything */
    private async read(): Promise<boolean> {
        const response = await fetch(`${this.address}&offset=${this.offset}`, { cache: "no-store" });
        if (response.status === 401) {
            throw new LoggedOut();
        }
        if (!response.ok || !response.body) {
            throw new Error(`the service answers ${response.status}`);
        }
        const attempt = response.headers.get("x-ke1-log") ?? undefined;
        if (this.attempt !== undefined && attempt !== undefined && attempt !== this.attempt) {
            await response.body.cancel();
            this.attempt = attempt;
            this.offset = 0;
            this.decoder = new TextDecoder();
            this.observer.begin();
            return true;
        }
        this.attempt = attempt ?? this.attempt;
        const reader = response.body.getReader();
        let isMore = false;
        let began = performance.now();
        for (;;) {
            const { done, value } = await reader.read();
            if (done) {
                return isMore;
            }
            isMore = true;
            this.offset += value.length;
            // A chunk may be of any length.
            for (let at = 0; at < value.length; at += 65_536) {
                this.observer.text(this.decoder.decode(value.subarray(at, at + 65_536), { stream: true }));
                if (performance.now() - began > sliceMilliseconds) {
                    await pause();
                    began = performance.now();
                }
            }
        }
    }

    private async sleep(milliseconds: number): Promise<void> {
        await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, milliseconds);
            this.wake = () => {
                clearTimeout(timer);
                resolve();
            };
        });
    }
}

class LoggedOut extends Error {}
