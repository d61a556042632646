import * as fs from "node:fs";
import * as path from "node:path";

import type { FastifyInstance } from "fastify";

import { UserError } from "../contract/errors";
import type { ServiceContext } from "../service/http/context";
import type { BuildQueue } from "../service/queue";
import { dockerCredentials } from "../service/registry/repositories";
import type { ServiceSettings } from "../service/settings";
import type { QueueStore } from "../service/store";
import { TriggerMemory } from "../service/triggers/memory";
import { readTriggerFile } from "../service/triggers/read";
import { registerTriggers } from "../service/triggers/routes";
import { Triggers } from "../service/triggers/triggers";
import { defaultInterval } from "./triggersAction";
import type { ServeOptions } from "./serve";

/** The registry triggers of a service, and their routes; without a file there are none. */
interface ServedTriggers {
    readonly register: (app: FastifyInstance, context: ServiceContext) => void;
    readonly start: () => void;
    readonly stop: () => Promise<void>;
}

/** @throws UserError where the file cannot be */
export function openTriggers(
    options: Pick<ServeOptions, "triggers" | "interval">,
    settings: ServiceSettings,
    store: QueueStore,
    queue: BuildQueue,
): ServedTriggers {
    if (options.triggers === undefined) {
        return { register: () => undefined, start: () => undefined, stop: () => Promise.resolve() };
    }
    const file = readTriggerFile(options.triggers, options.interval ?? defaultInterval);
    const local = file.triggers.find(({ source }) => source !== undefined && path.isAbsolute(source));
    if (local && !settings.localSources) {
        throw new UserError(`the source of the trigger ${local.name} is a directory: give --local-sources too`);
    }
    const triggers = new Triggers(
        file.triggers,
        queue,
        new TriggerMemory(store.database),
        dockerCredentials(file.credentials),
        (line) => void process.stderr.write(`${line}\n`),
    );
    // Read anew for each notification, so that a secret that is changed is the next one that counts.
    const secret = () =>
        file.webhookSecretFile === "" ? undefined : fs.readFileSync(file.webhookSecretFile, "utf8").trim();
    return {
        register: (app, context) => registerTriggers(app, context, triggers, secret),
        start: () => triggers.start(),
        stop: async () => triggers.stop(),
    };
}
