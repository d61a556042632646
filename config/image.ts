import { UserError } from "../contract/errors";
import type { Reader } from "./reader";

/** What of the configuration is about the source's image itself. */
export interface ImageSettings {
    /** The stack ends when the image is in the registry: there is no Job, and no cluster is needed. */
    readonly imageOnly: boolean;
    /** Instead of the BUILD_TAG; empty where that is the image's tag. */
    readonly imageTags: readonly string[];
    readonly imageLabels: Readonly<Record<string, string>>;
    /** Each is declared after every `FROM` of the Dockerfile, so that a source need not name them itself. */
    readonly buildArgs: Readonly<Record<string, string>>;
    readonly noCache: boolean;
}

/** The image of a stack that says nothing of it. */
export const plainImage: ImageSettings = {
    imageOnly: false,
    imageTags: [],
    imageLabels: {},
    buildArgs: {},
    noCache: false,
};

/** https://docs.docker.com/reference/dockerfile/#arg: what a shell can have as a variable. */
const argumentName = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests */
const tagName = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const labelName = /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/i;

export function readImageSettings(read: Reader): ImageSettings {
    const imageOnly = read.flag("imageOnly");
    const imageTags = read.listMatching("imageTags", tagName, "a tag: at most 128 of A-Z a-z 0-9 _ . -");
    if (imageTags.length > 0 && !imageOnly) {
        throw new UserError("imageTags is for imageOnly: what a build runs in has the BUILD_TAG");
    }
    if (imageOnly && read.text("image") !== "" && imageTags.length > 0) {
        throw new UserError(
            "image names an image that is there, which imageTags cannot give a tag; leave one of them out",
        );
    }
    if (imageOnly && read.text("imageBuilder") === "cluster") {
        throw new UserError(
            "imageOnly is not for imageBuilder cluster: such a stack has no cluster, and Docker builds it",
        );
    }
    return {
        imageOnly,
        imageTags,
        imageLabels: texts(read, "imageLabels", labelName),
        buildArgs: texts(read, "buildArgs", argumentName),
        noCache: read.flag("noCache"),
    };
}

function texts(read: Reader, key: string, name: RegExp): Readonly<Record<string, string>> {
    let parsed: unknown;
    try {
        parsed = JSON.parse(read.text(key, "{}"));
    } catch {
        parsed = undefined;
    }
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
        throw new UserError(`${key} must be an object of names and values`);
    }
    return Object.fromEntries(
        Object.entries(parsed).map(([given, value]) => {
            if (!name.test(given) || !["string", "number", "boolean"].includes(typeof value)) {
                throw new UserError(
                    `${key} has \`${given.slice(0, 80)}\`, which is no name that can be, or has no text as its value`,
                );
            }
            return [given, String(value)];
        }),
    );
}
