import type { BuildQueue } from "../queue";
import type { QueueStore } from "../store";
import type { ServiceContext } from "../http/context";
import { AddressGuard } from "../sources/addresses";
import type { CallbackResult } from "./callbacks";
import { Callbacks } from "./callbacks";
import { KafkaEvents } from "./kafka";
import { Outbox } from "./outbox";
import type { NotifySettings } from "./settings";

/** Who counts what becomes of notifications. */
export interface NotificationObserver {
    readonly callbackTried: (result: CallbackResult) => void;
    readonly kafkaMessages: (result: "sent" | "dropped", messages: number) => void;
}

/** All that a service tells others of its builds by itself: callbacks and Kafka. */
export class Notifications {
    public readonly callbacks: Callbacks;
    public readonly kafka: KafkaEvents;

    /** @param allowed hosts and blocks on private networks that a request may name (service/sources/addresses.ts) */
    public constructor(
        queue: BuildQueue,
        store: QueueStore,
        openStore: ServiceContext["openStore"],
        settings: NotifySettings,
        allowed: readonly string[],
        observer: () => NotificationObserver | undefined,
    ) {
        const reach = new AddressGuard(allowed);
        const say = (line: string): void => void process.stderr.write(`warning: ${line}\n`);
        this.callbacks = new Callbacks(queue, new Outbox(store.database), {
            ...{ reach, key: settings.callbackKey, say },
            observe: (result) => observer()?.callbackTried(result),
        });
        this.kafka = new KafkaEvents(queue, store.database, {
            ...{ settings, openStore, reach },
            observer: {
                say,
                sent: (messages) => observer()?.kafkaMessages("sent", messages),
                dropped: (messages) => observer()?.kafkaMessages("dropped", messages),
            },
        });
    }

    public start(): void {
        this.callbacks.start();
        this.kafka.start();
    }

    public async stop(): Promise<void> {
        await Promise.all([this.callbacks.stop(), this.kafka.stop()]);
    }
}
