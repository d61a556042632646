import type { Manifest } from "../../contract/manifest";
import type { ReleaseAsset } from "./assets";
import { checksumsName } from "./assets";

/** https://docs.github.com/rest/releases/releases: a body has at most 125,000 characters. */
const longestNotes = 120_000;

/** What a release says of itself: what it was built from, its files, and how to check them. */
export function notesOf(
    manifest: Manifest,
    assets: readonly ReleaseAsset[],
    images: readonly { readonly destination: string; readonly digest: string }[],
): string {
    const { source, buildTag, step, image, finishedAt } = manifest;
    const rows = assets
        .filter(({ name }) => name !== checksumsName)
        .map(({ name, size, sha256 }) => `| ${escaped(name)} | ${size} | \`${sha256}\` |`);
    const pushed = images.map(({ destination, digest }) => `- \`${destination}@${digest}\``);
    const head = [
        `Built as \`${buildTag}${step === undefined ? "" : `/${step}`}\` on ${finishedAt.replace(/\.\d+Z$/, "Z")}` +
            `${source.commit === undefined ? ` from the tree \`${source.tree}\`` : ` from ${source.commit}`}.`,
        "",
        `- image: \`${image}\``,
        `- check the files: \`sha256sum --check --ignore-missing ${checksumsName}\``,
        ...(pushed.length === 0 ? [] : ["", "Images:", "", ...pushed]),
        "",
        "| file | bytes | SHA-256 |",
        "| --- | ---: | --- |",
    ].join("\n");
    let length = head.length;
    const shownRows = rows.filter((row) => (length += row.length + 1) < longestNotes);
    const rest = rows.length - shownRows.length;
    return `${[head, ...shownRows].join("\n")}\n${rest > 0 ? `\nand ${rest} more, all of them in ${checksumsName}\n` : ""}`;
}

function escaped(text: string): string {
    return text.replace(/[\\|`*_<>[\]]/g, "\\$&");
}
