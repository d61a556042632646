import { isConfidential } from "../../contract/address";
import { UserError } from "../../contract/errors";
import { endMetrics, groupPath, startMetrics } from "./metrics";
import type { NotifiedBuild } from "./build";
import type { Try } from "./delivery";
import type { Send } from "./http";
import { answerOf, endpoint } from "./http";
import type { Receiver } from "./notifier";

/**
 * A Prometheus Pushgateway, told with POST: that replaces the metrics which are pushed, and leaves the group's others.
 *
 * @param address may have a path, and a user and password for Basic authentication
 * @throws UserError when it cannot be one
 */
export function pushgatewayReceiver(address: string, send: Send): Receiver {
    const url = endpoint(address, "the Pushgateway's address");
    if (url.search !== "") {
        throw new UserError("the Pushgateway's address must be a URL without a query (?…)");
    }
    const authorization = basicAuthentication(url);
    if (authorization !== undefined && !isConfidential(url)) {
        throw new UserError(
            `the Pushgateway's address has a password in it, which ${url.host} would be sent in the clear: use https://`,
        );
    }
    url.username = "";
    url.password = "";
    const push =
        (build: NotifiedBuild, body: string): Try =>
        async (signal) => {
            const group = new URL(url);
            group.pathname = url.pathname.replace(/\/+$/, "") + groupPath(build);
            const headers = {
                "content-type": "text/plain; version=0.0.4; charset=utf-8",
                ...(authorization === undefined ? {} : { authorization }),
            };
            return answerOf(await send({ url: group, headers, body }, signal));
        };
    return {
        name: `the Pushgateway at ${url.host}`,
        start: (build) => push(build, startMetrics(build)),
        end: (build, ending) => push(build, endMetrics(build, ending)),
        endTellsAll: true,
    };
}

function basicAuthentication(url: URL): string | undefined {
    if (url.username === "" && url.password === "") {
        return undefined;
    }
    const pair = [url.username, url.password].map(decodeURIComponent).join(":");
    return `Basic ${Buffer.from(pair).toString("base64")}`;
}
