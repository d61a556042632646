import { createHmac, randomUUID } from "node:crypto";

/** One delivery, as GitHub makes them (https://docs.github.com/en/webhooks/webhook-events-and-payloads). */
export interface Delivery {
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
}

const owner = {
    login: "kerbodyne",
    id: 21031067,
    node_id: "MDQ6VXNlcjIxMDMxMDY3",
    html_url: "https://github.com/kerbodyne",
    type: "Organization",
    site_admin: false,
};

/** The keys of a payload's `repository` that say what it is called, in each of GitHub's ways. */
function repositoryOf(name: string) {
    return {
        id: 186853002,
        node_id: "MDEwOlJlcG9zaXRvcnkxODY4NTMwMDI=",
        name: name.split("/")[1],
        full_name: name,
        private: true,
        owner,
        html_url: `https://github.com/${name}`,
        description: null,
        fork: false,
        url: `https://github.com/${name}`,
        archive_url: `https://api.github.com/repos/${name}/{archive_format}{/ref}`,
        created_at: 1557933565,
        updated_at: "2026-05-15T15:20:41Z",
        pushed_at: Math.round(Date.now() / 1000),
        git_url: `git://github.com/${name}.git`,
        ssh_url: `git@github.com:${name}.git`,
        clone_url: `https://github.com/${name}.git`,
        default_branch: "main",
        visibility: "private",
    };
}

const none = "0".repeat(40);

export const payloads = {
    push: (repository: string, ref: string, before: string, after: string) => ({
        ref,
        before,
        after,
        repository: repositoryOf(repository),
        pusher: { name: "kerbodyne", email: "21031067+kerbodyne@users.noreply.github.com" },
        sender: owner,
        created: before === none,
        deleted: after === none,
        forced: false,
        base_ref: null,
        compare: `https://github.com/${repository}/compare/${before.slice(0, 12)}...${after.slice(0, 12)}`,
        commits: [
            {
                id: after,
                tree_id: "f9d2a07e9488b91af2641b26b9407fe22a451433",
                distinct: true,
                message: "Größe geprüft\n\nmit Umlauten & einem =",
                timestamp: "2026-11-21T18:00:00+02:00",
                url: `https://github.com/${repository}/commit/${after}`,
                author: { name: "Kerbodyne", email: "someone@kerbodyne.example", username: "kerbodyne" },
                committer: { name: "GitHub", email: "noreply@github.com", username: "web-flow" },
                added: [],
                removed: [],
                modified: ["README.md"],
            },
        ],
        head_commit: null,
    }),
    create: (repository: string, tag: string) => ({
        ref: tag,
        ref_type: "tag",
        master_branch: "main",
        description: null,
        pusher_type: "user",
        repository: repositoryOf(repository),
        sender: owner,
    }),
    ping: (repository: string) => ({
        zen: "Keep it logically awesome.",
        hook_id: 109948940,
        hook: {
            type: "Repository",
            id: 109948940,
            name: "web",
            active: true,
            events: ["push", "create"],
            config: {
                content_type: "json",
                url: "https://builds.kerbodyne.example/v1/webhooks/github",
                insecure_ssl: "0",
            },
        },
        repository: repositoryOf(repository),
        sender: owner,
    }),
} as const;

/** Signs and wraps a payload. */
export function deliver(
    event: string,
    payload: unknown,
    secret: string,
    { form = false, id = randomUUID() }: { readonly form?: boolean; readonly id?: string } = {},
): Delivery {
    const json = typeof payload === "string" ? payload : JSON.stringify(payload);
    const body = form ? new URLSearchParams({ payload: json }).toString() : json;
    return {
        headers: {
            "user-agent": "GitHub-Hookshot/044aadd",
            accept: "*/*",
            "content-type": form ? "application/x-www-form-urlencoded" : "application/json",
            "x-github-event": event,
            "x-github-delivery": id,
            "x-github-hook-id": "109948940",
            "x-github-hook-installation-target-type": "repository",
            "x-hub-signature-256": `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`,
        },
        body,
    };
}
