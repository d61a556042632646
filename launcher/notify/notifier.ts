import { UserError } from "../../contract/errors";
import type { NotifiedBuild, NotifiedEnding } from "./build";
import { oneLine } from "./build";
import type { Answer, Timing, Try } from "./delivery";
import { deliver, usualTiming } from "./delivery";
import type { EventWriter } from "./event";
import { eventReceiver } from "./event";
import type { Send } from "./http";
import { post } from "./http";
import { pushgatewayReceiver } from "./pushgateway";
import { webhookReceiver } from "./webhook";

export type { NotifiedBuild, NotifiedEnding } from "./build";

/** Somebody who is told of builds. */
export interface Receiver {
    /** For a person; holds no secret. */
    readonly name: string;
    readonly start: (build: NotifiedBuild) => Try;
    readonly end: (build: NotifiedBuild, ending: NotifiedEnding) => Try;
    /** Whether a start that was not told yet need not be told any more once there is an end to tell. */
    readonly endTellsAll: boolean;
}

export interface NotifierOptions {
    /** The address of a Prometheus Pushgateway. */
    readonly pushgateway?: string;
    readonly webhook?: string;
    /** Signs what is sent to the webhook: `whsec_` and base64. */
    readonly webhookSecret?: string;
    readonly event?: EventWriter;
    /** For one line to a person. */
    readonly say?: (line: string) => void;
    /** For what only who looks for a fault wants to know. */
    readonly debug?: (line: string) => void;
    readonly send?: Send;
    readonly timing?: Partial<Timing>;
}

/** What there is to tell. */
type Part = "start" | "end";

/** Milliseconds that the end of `up` may be held up. */
const usualPatience = 3000;

/**
 * Tells of a build's start and end. Nothing that happens to a receiver is an error: a build neither fails nor waits
 * because nobody listens. What could not be told by `close` is one line for each receiver.
 */
export class Notifier {
    private readonly receivers: readonly Receiver[];
    private readonly timing: Timing;
    private readonly closing = new AbortController();
    private readonly startSuperseded = new AbortController();
    private readonly underWay = new Set<Promise<void>>();
    private readonly untold = new Map<Receiver, { what: Set<Part>; why: string }>();

    /** @throws UserError when an address or the secret cannot be */
    public constructor(private readonly options: NotifierOptions) {
        const send = options.send ?? post;
        this.timing = { ...usualTiming, ...options.timing };
        if (options.webhookSecret && !options.webhook) {
            throw new UserError("there is a webhook's secret, but no webhook");
        }
        this.receivers = [
            ...(options.pushgateway ? [pushgatewayReceiver(options.pushgateway, send)] : []),
            ...(options.webhook ? [webhookReceiver(options.webhook, options.webhookSecret, send)] : []),
            ...(options.event ? [eventReceiver(options.event)] : []),
        ];
    }

    /** Returns at once; what fails is tried again while the build runs. */
    public started(build: NotifiedBuild): void {
        for (const receiver of this.receivers) {
            const signals = receiver.endTellsAll ? [this.startSuperseded.signal] : [];
            this.tell(
                receiver,
                "start",
                () => receiver.start(build),
                AbortSignal.any([this.closing.signal, ...signals]),
            );
        }
    }

    /** Returns at once; `close` waits for it. */
    public ended(build: NotifiedBuild, ending: NotifiedEnding): void {
        this.startSuperseded.abort();
        for (const receiver of this.receivers) {
            this.tell(receiver, "end", () => receiver.end(build, ending), this.closing.signal);
        }
    }

    /** Waits for what is still being told, but not beyond `milliseconds`; then gives up, and says so. Never rejects. */
    public async close(milliseconds = usualPatience): Promise<void> {
        let timer: NodeJS.Timeout | undefined;
        const deadline = new Promise<void>((resolve) => {
            timer = setTimeout(resolve, milliseconds);
        });
        await Promise.race([Promise.all(this.underWay), deadline]);
        clearTimeout(timer);
        this.closing.abort();
        // Whatever was under way ends now.
        await Promise.all(this.underWay);
        for (const receiver of this.receivers) {
            const untold = this.untold.get(receiver);
            if (untold) {
                const parts = (["start", "end"] as const).filter((part) => untold.what.has(part));
                this.say(`${receiver.name} could not be told of the build's ${parts.join(" and ")}: ${untold.why}`);
            }
        }
        this.untold.clear();
    }

    private tell(receiver: Receiver, what: Part, make: () => Try, signal: AbortSignal): void {
        const telling = this.telling(receiver, what, make, signal).finally(() => this.underWay.delete(telling));
        this.underWay.add(telling);
    }

    private async telling(receiver: Receiver, what: Part, make: () => Try, signal: AbortSignal): Promise<void> {
        let answer: Answer;
        try {
            answer = await deliver(make(), this.timing, signal);
        } catch {
            answer = { kind: "failed", reason: "it cannot be put into words", retry: false };
        }
        if (answer.kind === "unwanted") {
            this.options.debug?.(
                `${receiver.name} are not told of the build's ${what}: ${oneLine(answer.reason, 200)}`,
            );
        } else if (answer.kind === "failed" && !(what === "start" && this.isSuperseded(receiver))) {
            const untold = this.untold.get(receiver) ?? { what: new Set(), why: "" };
            untold.what.add(what);
            untold.why = answer.reason;
            this.untold.set(receiver, untold);
        }
    }

    private isSuperseded(receiver: Receiver): boolean {
        return receiver.endTellsAll && this.startSuperseded.signal.aborted;
    }

    private say(line: string): void {
        (this.options.say ?? sayOnStderr)(oneLine(line, 500));
    }
}

function sayOnStderr(line: string): void {
    process.stderr.write(`warning: ${line}\n`);
}
