import type { WatchEvent } from "../service/watch/events";

/** How much of a commit's hash is shown: what git shows at the least. */
const shownOfHash = 7;

/** One event in a line or two, for a person. */
export function lineOf(event: WatchEvent): string {
    const commit = "commit" in event ? ` ${event.commit.slice(0, shownOfHash)}` : "";
    return `${event.name}${event.branch === undefined ? "" : `^${event.branch}`}${commit}: ${tell(event)}`;
}

function tell(event: WatchEvent): string {
    switch (event.event) {
        case "watching": {
            const branches = event.branches.map((branch) => (branch === "" ? "the default branch" : branch));
            return `watching ${branches.join(", ")} of ${event.repository}, every ${event.interval} s`;
        }
        case "known":
            return `built before${event.state === undefined ? "" : ` (${event.state})`}; waiting for a new commit`;
        case "commit":
            return `new${event.rewritten ? ", the branch was rewritten" : ""}: ${event.subject || "(no title)"} (build ${event.build})`;
        case "skipped":
            return `not built, as ${event.for.slice(0, shownOfHash)} is newer: ${few(event.commits)}`;
        case "started":
            return "building";
        case "ended":
            return tellEnd(event);
        case "gone":
            return `the branch is gone, and its stack with it (${event.lane})`;
        case "nothing":
            return `${event.problem}; waiting`;
        case "unreachable":
            return `does not answer: ${event.problem}; trying on`;
        case "reachable":
            return "answers again";
        case "webhook":
            return `a webhook: looking now (${event.delivery})`;
    }
}

function tellEnd(event: Extract<WatchEvent, { readonly event: "ended" }>): string {
    const { state, outcome, message, seconds, artifacts, buildTag, kept } = event;
    const took = `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
    if (state === "succeeded") {
        const what = outcome === undefined || outcome === "Succeeded" ? "succeeded" : `succeeded (${outcome})`;
        const found = `${artifacts} ${artifacts === 1 ? "artifact" : "artifacts"}`;
        return `${what} in ${took}; ${found}: ke1 artifacts ${buildTag ?? ""}`;
    }
    const why = [outcome, message].filter((part) => part !== undefined && part !== "").join(": ");
    return [
        `${state} after ${took}${why === "" ? "" : `: ${why}`}`,
        ...(buildTag === undefined ? [] : [`  its log: ke1 logs ${buildTag}`]),
        ...(kept === undefined ? [] : [`  kept until the branch's next commit: kubectl --namespace ${kept} get pods`]),
    ].join("\n");
}

/** The newest of them, and how many more. */
function few(commits: readonly string[]): string {
    const shown = commits.slice(-5).map((commit) => commit.slice(0, shownOfHash));
    const rest = commits.length - shown.length;
    return `${shown.join(", ")}${rest > 0 ? ` and ${rest} before` : ""}`;
}
