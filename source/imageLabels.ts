import type { ResolvedSource } from "./resolve";

/**
 * What an image says of its source, by the names that registries and scanners know; GHCR links an image to its repository
 * by `source` (https://github.com/opencontainers/image-spec/blob/main/annotations.md). The same for one commit and tag, so
 * that the image is.
 */
export function imageLabels(source: ResolvedSource): Readonly<Record<string, string>> {
    return {
        "org.opencontainers.image.version": source.buildTag,
        "org.opencontainers.image.revision": source.commit ?? source.tree,
        "org.opencontainers.image.created": new Date(source.sourceDateEpoch * 1000).toISOString(),
        ...(source.repository === undefined ? {} : { "org.opencontainers.image.source": source.repository }),
    };
}

/** A Dockerfile whose last stage, the one that becomes the image, has these labels too. */
export function withLabels(dockerfile: string, labels: Readonly<Record<string, string>>): string {
    const pairs = Object.entries(labels).map(([name, value]) => `${name}=${quoted(value)}`);
    return `${dockerfile.replace(/\n*$/, "\n")}LABEL ${pairs.join(" ")}\n`;
}

/** https://docs.docker.com/reference/dockerfile/#label: in double quotes, with `\\`, `"` and `$` escaped. */
function quoted(value: string): string {
    return `"${value.replace(/[\\"$]/g, "\\$&")}"`;
}
