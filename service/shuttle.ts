import { UserError } from "../contract/errors";
import type { BuildRecord, BuildRequest, BuildSecrets } from "./build";
import { credentialSecrets } from "./imageRequest";
import { checkCallback } from "./notify/callbacks";
import { kafkaHosts } from "./notify/settings";
import { parseImageName, parseSource } from "./sources/location";

/** What the clients of the build shuttle send it (docs/shuttle.md). All else in it is passed over. */
export interface ShuttlePayload {
    readonly sources?: unknown;
    readonly app?: unknown;
    readonly space?: unknown;
    readonly app_uuid?: unknown;
    readonly build_uuid?: unknown;
    readonly build_number?: unknown;
    readonly build_args?: unknown;
    readonly callback?: unknown;
    readonly callback_auth?: unknown;
    readonly kafka_hosts?: unknown;
    readonly gm_registry_host?: unknown;
    readonly gm_registry_repo?: unknown;
    readonly gm_registry_auth?: unknown;
    readonly docker_registry?: unknown;
    readonly docker_login?: unknown;
    readonly docker_password?: unknown;
    readonly [more: string]: unknown;
}

/** The labels that a build is found by, and those that come along. */
const labelNames = ["app", "space", "app_uuid", "build_uuid", "build_number", "sha", "branch", "repo", "org"] as const;
const required = ["sources", "app", "space", "app_uuid", "build_number", "build_uuid"] as const;
export const uuid = /^[a-f\d]{8}(-[a-f\d]{4}){3}-[a-f\d]{12}$/i;

/**
 * The request that a payload stands for: the image `<registry>/<repository>/<app>-<app_uuid>` with the tags
 * `1.<build_number>` and `latest`, and the labels of the shuttle.
 *
 * @throws UserError with the shuttle's own texts, where it has one
 */
export function shuttleRequest(payload: ShuttlePayload): {
    readonly request: BuildRequest;
    readonly secrets: BuildSecrets;
} {
    if (required.some((field) => text(payload[field]) === "")) {
        throw new UserError("Bad Request - missing fields.");
    }
    if (!uuid.test(text(payload.build_uuid))) {
        throw new UserError("Bad Request - build uuid is invalid.");
    }
    const labels = Object.fromEntries(
        labelNames.flatMap((name) => (text(payload[name]) === "" ? [] : [[name, text(payload[name]).slice(0, 256)]])),
    );
    const { registry, push, pull } = registryOf(payload);
    const { repository } = parseImageName(`${registry}/${text(payload.app)}-${text(payload.app_uuid)}`);
    const tags = [`1.${text(payload.build_number)}`, "latest"];
    parseImageName(`${registry}/${repository.split("/").at(-1) ?? ""}:${tags[0] ?? ""}`);
    const callback = text(payload.callback);
    if (callback !== "" && !/^https?:$/.test(URL.canParse(callback) ? new URL(callback).protocol : "")) {
        throw new UserError("Bad Request - callback is no http or https address.");
    }
    if (callback !== "") {
        checkCallback(callback);
    }
    const callbackAuth = text(payload.callback_auth);
    const brokers = kafkaHosts(hosts(payload.kafka_hosts), "`kafka_hosts`");
    return {
        request: {
            kind: "image",
            source: text(payload.sources),
            ...refOf(payload),
            config: {
                registry,
                imageName: `${text(payload.app)}-${text(payload.app_uuid)}`,
                imageTags: tags,
                imageLabels: Object.fromEntries(
                    ["app", "space", "build_uuid", "app_uuid"].map((name) => [name, labels[name] ?? ""]),
                ),
                ...buildArgs(payload.build_args),
            },
            labels,
            ...(callback === "" ? {} : { callback }),
            ...(brokers.length === 0 ? {} : { kafkaHosts: brokers }),
        },
        secrets: {
            ...(callbackAuth === "" ? {} : { callback_auth: callbackAuth }),
            ...credentialSecrets("registry", push),
            ...credentialSecrets("pull", pull),
        },
    };
}

/** Whether a build is the one that `/<app>-<app_uuid>/<key>` names: by its number, its uuid, or its id here. */
export function isNamed({ id, request: { labels } }: BuildRecord, app: string, key?: string): boolean {
    const { app: name = "", app_uuid = "", build_number, build_uuid } = labels;
    return `${name}-${app_uuid}` === app && (key === undefined || [build_number, build_uuid, id].includes(key));
}

/** Archives have none; of a repository it is the commit, else the branch. */
function refOf(payload: ShuttlePayload): { readonly ref?: string } {
    const ref = text(payload["sha"]) || text(payload["branch"]);
    return ref !== "" && parseSource(text(payload.sources)).kind === "git" ? { ref } : {};
}

interface Login {
    readonly username: string;
    readonly password: string;
}

/**
 * `gm_registry_*` is where the image goes; `docker_login` and `docker_password` are then for the image that is the source.
 * Without the former, `docker_registry` is where it goes, with that login.
 */
function registryOf(payload: ShuttlePayload): {
    readonly registry: string;
    readonly push?: Login;
    readonly pull?: Login;
} {
    const login = loginOf({ username: payload.docker_login, password: payload.docker_password });
    const host = text(payload.gm_registry_host);
    const parts = host === "" ? [text(payload.docker_registry)] : [host, text(payload.gm_registry_repo)];
    const registry = parts
        .map((part) => part.replace(/^https?:\/\//, "").replace(/^\/+|\/+$/g, ""))
        .filter((part) => part !== "")
        .join("/");
    if (registry === "") {
        throw new UserError("Bad Request - missing fields.");
    }
    return host === "" ? { registry, push: login } : { registry, push: loginOf(payload.gm_registry_auth), pull: login };
}

function loginOf(given: unknown): Login | undefined {
    if (typeof given !== "object" || given === null) {
        return undefined;
    }
    const { username, password } = given as { readonly username?: unknown; readonly password?: unknown };
    return text(username) === "" || text(password) === ""
        ? undefined
        : { username: text(username), password: text(password) };
}

/** As the shuttle has it: what no variable's name can have is left out of the names. */
function buildArgs(given: unknown): { readonly buildArgs?: Readonly<Record<string, string>> } {
    if (typeof given !== "object" || given === null || Array.isArray(given)) {
        return {};
    }
    const named = Object.entries(given).map(([name, value]) => [
        name.replace(/[^A-Za-z0-9_]+/g, "").replace(/^(?=\d)/, "_"),
        text(value),
    ]);
    return { buildArgs: Object.fromEntries(named.filter(([name]) => name !== "")) as Readonly<Record<string, string>> };
}

function hosts(given: unknown): readonly string[] {
    const all = Array.isArray(given) ? given.map(text) : text(given).split(",");
    return all.map((host) => host.trim()).filter((host) => host !== "");
}

function text(value: unknown): string {
    return typeof value === "string"
        ? value
        : typeof value === "number" || typeof value === "boolean"
          ? String(value)
          : "";
}
