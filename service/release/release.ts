import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import * as semver from "semver";

import { UserError } from "../../contract/errors";
import type { Manifest } from "../../contract/manifest";
import { HttpError } from "../registry/errors";
import { mayPass } from "../registry/retry";
import type { ReleaseAsset } from "./assets";
import type { GitHubAsset, GitHubRelease, GitHubReleases } from "./github";

/** What is released. */
export interface ReleasePlan {
    readonly tag: string;
    readonly manifest: Manifest;
    readonly assets: readonly ReleaseAsset[];
    readonly notes: string;
    /** Files of the release that are others than these are replaced. */
    readonly replace: boolean;
    /** It stays a draft. */
    readonly draft: boolean;
}

export interface ReleaseResult {
    readonly url: string;
    readonly draft: boolean;
    readonly prerelease: boolean;
    readonly uploaded: readonly string[];
    readonly replaced: readonly string[];
    readonly unchanged: readonly string[];
}

/** How often a file is sent. */
const uploadTries = 4;
/** How many at once. */
const parallelUploads = 3;

/** Whether a tag names a version, and one that is not for everybody yet (https://semver.org/#spec-item-9). */
export function isPrerelease(tag: string): boolean {
    return (semver.parse(tag)?.prerelease.length ?? 0) > 0;
}

/**
 * Makes a GitHub release, or completes one: a draft until every file is there, then published. What is there with the same
 * digest is left alone.
 *
 * @param beforePublishing what else must have gone well, such as the push of images
 * @throws UserError where the tag is of another commit, or a file is there with another content; nothing is changed then.
 */
export async function release(
    github: GitHubReleases,
    plan: ReleasePlan,
    say: (line: string) => void,
    beforePublishing: () => Promise<void> = () => Promise.resolve(),
): Promise<ReleaseResult> {
    const { tag, manifest, assets } = plan;
    const { commit } = manifest.source;
    const tagged = await github.commitOf(tag);
    if (tagged !== undefined && commit !== undefined && tagged !== commit) {
        throw new UserError(`on GitHub, the tag ${tag} is of the commit ${tagged}, and what was built is ${commit}`);
    }
    const prerelease = isPrerelease(tag);
    let found = await github.find(tag);
    const there = found ? await github.assets(found.id) : [];
    const compared = await compareAll(github, there, assets);
    const different = compared.filter(({ state }) => state === "different");
    if (different.length > 0 && !plan.replace) {
        const names = different.map(({ asset }) => asset.name).join(", ");
        throw new UserError(
            `the release ${tag} has ${names} already, with another content; --replace puts these in their place`,
        );
    }
    if (!found) {
        found = await github.createDraft({ tag, commit, name: tag, notes: plan.notes, prerelease });
        say(`${tag}: a draft`);
    }
    const draft = found;
    const pending = compared.filter(({ state }) => state !== "same");
    const work = async () => {
        for (let next = pending.shift(); next; next = pending.shift()) {
            await send(github, draft, next.asset, next.existing, plan.replace);
            say(`${next.asset.name}: ${next.asset.size} bytes`);
        }
    };
    const outstanding = pending.length;
    const named = (...states: readonly Comparison["state"][]) =>
        compared.filter(({ state }) => states.includes(state)).map(({ asset }) => asset.name);
    await Promise.all(Array.from({ length: Math.min(parallelUploads, outstanding) }, work));
    await beforePublishing();
    const isLatest = !prerelease && semver.parse(tag) !== null;
    const end = draft.draft && !plan.draft ? await github.publish(draft.id, isLatest) : draft;
    return {
        url: end.html_url,
        draft: end.draft,
        prerelease: end.prerelease,
        uploaded: named("missing", "broken"),
        replaced: named("different"),
        unchanged: named("same"),
    };
}

interface Comparison {
    readonly asset: ReleaseAsset;
    readonly existing: GitHubAsset | undefined;
    readonly state: "missing" | "broken" | "same" | "different";
}

async function compareAll(
    github: GitHubReleases,
    there: readonly GitHubAsset[],
    assets: readonly ReleaseAsset[],
): Promise<readonly Comparison[]> {
    const compared: Comparison[] = [];
    for (const asset of assets) {
        const existing = there.find(({ name }) => name === asset.name);
        compared.push({ asset, existing, state: await compare(github, existing, asset) });
    }
    return compared;
}

async function compare(
    github: GitHubReleases,
    existing: GitHubAsset | undefined,
    asset: ReleaseAsset,
): Promise<Comparison["state"]> {
    if (!existing) {
        return "missing";
    }
    if (existing.state !== "uploaded") {
        return "broken";
    }
    if (existing.size !== asset.size) {
        return "different";
    }
    const digest = existing.digest ?? (await digestOf(github, existing.id));
    return digest === `sha256:${asset.sha256}` ? "same" : "different";
}

/** Of a server that does not say it. */
async function digestOf(github: GitHubReleases, id: number): Promise<string> {
    const hash = createHash("sha256");
    for await (const chunk of await github.download(id)) {
        hash.update(chunk);
    }
    return `sha256:${hash.digest("hex")}`;
}

/** Sends a file; what a broken try has left is looked at before the next. */
async function send(
    github: GitHubReleases,
    to: GitHubRelease,
    asset: ReleaseAsset,
    existing: GitHubAsset | undefined,
    replace: boolean,
): Promise<void> {
    let inTheWay = existing;
    for (let tries = 1; ; tries++) {
        if (inTheWay) {
            await github.deleteAsset(inTheWay.id);
        }
        try {
            const stored = await github.upload(to, asset);
            const digest = stored.digest ?? undefined;
            if (stored.size !== asset.size || (digest !== undefined && digest !== `sha256:${asset.sha256}`)) {
                throw new Error(`GitHub has stored ${asset.name} as ${stored.size} bytes, ${digest ?? "of no digest"}`);
            }
            return;
        } catch (error) {
            // 422: it is there, from a try whose answer was lost, or from somebody else.
            const isThere = error instanceof HttpError && error.status === 422;
            if (tries >= uploadTries || !(mayPass(error) || isThere)) {
                throw error;
            }
            await sleep(Math.min(60_000, (error instanceof HttpError && error.retryAfter) || 500 * 2 ** tries));
            inTheWay = (await github.assets(to.id)).find(({ name }) => name === asset.name);
            const state = await compare(github, inTheWay, asset);
            if (state === "same") {
                return;
            }
            if (state === "different" && !replace) {
                throw error;
            }
        }
    }
}
