import { createHmac, randomUUID } from "node:crypto";

import { isConfidential } from "../../contract/address";
import { UserError } from "../../contract/errors";
import type { Notification, NotificationData, NotificationType } from "../../contract/notification";
import { notificationType } from "../../contract/notification";
import type { Receiver } from "./notifier";
import type { NotifiedBuild, NotifiedEnding } from "./build";
import { oneLine } from "./build";
import type { Try } from "./delivery";
import type { Send } from "./http";
import { answerOf, endpoint } from "./http";

const longestMessage = 4096;

/**
 * A webhook, told with a CloudEvent that is signed by the rules of Standard Webhooks (https://www.standardwebhooks.com).
 *
 * @param secret `whsec_` and 24 to 64 bytes in base64
 * @throws UserError when address or secret cannot be; neither is in its message
 */
export function webhookReceiver(address: string, secret: string | undefined, send: Send): Receiver {
    const url = endpoint(address, "the webhook's address");
    if (url.username !== "" || url.password !== "") {
        throw new UserError("the webhook's address must be a URL without a user and password: what is sent is signed");
    }
    if (!isConfidential(url)) {
        throw new UserError(
            `the webhook's address must begin with https://: ${url.host} is neither this machine nor a private address`,
        );
    }
    const key = signingKey(secret);
    const tell = (notification: Notification): Try => {
        const body = JSON.stringify(notification);
        return async (signal) => {
            // Signed anew for each try: receivers refuse what was signed more than some minutes ago.
            const timestamp = Math.floor(Date.now() / 1000);
            const headers = {
                "content-type": "application/cloudevents+json; charset=utf-8",
                "webhook-id": notification.id,
                "webhook-timestamp": String(timestamp),
                "webhook-signature": signature(key, notification.id, timestamp, body),
            };
            return answerOf(await send({ url, headers, body }, signal));
        };
    };
    return {
        // Its path and query may be secrets.
        name: `the webhook at ${url.host}`,
        start: (build) => tell(notificationOf(build)),
        end: (build, ending) => tell(notificationOf(build, ending)),
        endTellsAll: false,
    };
}

/** https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#symmetric-signature */
export function signature(key: Buffer, id: string, timestamp: number, body: string): string {
    return `v1,${createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`;
}

/** @throws UserError, without the secret, when it is none */
export function signingKey(secret: string | undefined): Buffer {
    const advice = `make one with: echo "whsec_$(openssl rand -base64 32)"`;
    if (secret === undefined || secret === "") {
        throw new UserError(`the webhook needs a secret to sign with; ${advice}`);
    }
    const encoded = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret.trim())?.[1];
    const key = Buffer.from(encoded ?? "", "base64");
    if (key.length < 24 || key.length > 64) {
        throw new UserError(`the webhook's secret must be \`whsec_\` and 24 to 64 bytes in base64; ${advice}`);
    }
    return key;
}

export function notificationOf(build: NotifiedBuild, ending?: NotifiedEnding): Notification {
    const job = ending?.job ?? build.job;
    const type: NotificationType = ending ? notificationType(ending.outcome) : "dev.ke1.build.started.v1";
    const data: NotificationData = {
        buildTag: build.buildTag,
        step: build.step,
        stack: build.stack,
        job: { namespace: build.namespace, name: job },
        source: build.source,
        command: build.command,
        startedAt: build.startedAt.toISOString(),
        ...(ending ? endOf(ending) : {}),
    };
    return {
        specversion: "1.0",
        id: randomUUID(),
        source: `/ke1/${build.namespace}/${job}`,
        type,
        subject: build.buildTag,
        time: (ending?.endedAt ?? build.startedAt).toISOString(),
        datacontenttype: "application/json",
        data,
    };
}

function endOf(ending: NotifiedEnding): Partial<NotificationData> {
    const { outcome, endedAt, exitCode, attempt, durations, artifacts, logUrl, manifestUrl } = ending;
    // A build that did not succeed always says something.
    const message =
        ending.message ?? (notificationType(outcome) === "dev.ke1.build.succeeded.v1" ? undefined : outcome);
    return {
        outcome,
        endedAt: endedAt.toISOString(),
        message: message && oneLine(message, longestMessage),
        exitCode,
        attempt,
        durations,
        artifacts,
        logUrl,
        manifestUrl,
    };
}
