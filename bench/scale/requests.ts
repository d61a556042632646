import { execFileSync } from "node:child_process";

import { stringify } from "yaml";

import { kubectl, platform } from "../../tests/helpers/ke1";

/** As the API server's authorization names them. */
const verbs = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"] as const;

export type Requests = Readonly<Record<(typeof verbs)[number], number>>;

/**
 * An identity of the bench's own on the cluster, whose requests the API server counts apart from all others: its metrics of
 * priority and fairness have a number for each FlowSchema, and each verb of this identity has one
 * (https://kubernetes.io/docs/concepts/cluster-administration/flow-control/).
 */
export class CountedIdentity {
    public constructor(
        /** A namespace that is there; the name of all that is made, too. */
        private readonly name: string,
    ) {}

    /** @returns a kubeconfig with a token: to be kept in a file that is 0600 */
    public async create(): Promise<string> {
        const { name } = this;
        const metadata = { name };
        const subject = { kind: "ServiceAccount", namespace: name, name };
        apply([
            { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace: name } },
            {
                apiVersion: "rbac.authorization.k8s.io/v1",
                kind: "ClusterRoleBinding",
                metadata,
                roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
                subjects: [subject],
            },
            ...verbs.map((verb) => ({
                apiVersion: "flowcontrol.apiserver.k8s.io/v1",
                kind: "FlowSchema",
                metadata: { name: this.schema(verb) },
                spec: {
                    // Before all others but the administrator's own, which is not held back either.
                    matchingPrecedence: 2,
                    priorityLevelConfiguration: { name: "exempt" },
                    rules: [
                        {
                            subjects: [{ kind: "ServiceAccount", serviceAccount: { namespace: name, name } }],
                            resourceRules: [
                                {
                                    ...{ verbs: [verb], apiGroups: ["*"], resources: ["*"] },
                                    ...{ clusterScope: true, namespaces: ["*"] },
                                },
                            ],
                        },
                    ],
                },
            })),
        ]);
        const token = (await kubectl("create", "token", name, "--namespace", name, "--duration=6h")).trim();
        const config = JSON.parse(await kubectl("config", "view", "--raw", "--minify", "--output=json")) as {
            readonly clusters: readonly { readonly cluster: object }[];
        };
        return stringify({
            apiVersion: "v1",
            kind: "Config",
            "current-context": "bench",
            clusters: [{ name: "bench", cluster: config.clusters[0]?.cluster }],
            users: [{ name: "bench", user: { token } }],
            contexts: [{ name: "bench", context: { cluster: "bench", user: "bench" } }],
        });
    }

    /** What the identity has asked for so far. */
    public async count(): Promise<Requests> {
        const metrics = await kubectl("get", "--raw", "/metrics");
        const numbers = verbs.map((verb) => {
            const line = new RegExp(
                `^apiserver_flowcontrol_dispatched_requests_total\\{flow_schema="${this.schema(verb)}".*\\} ([\\d.e+]+)$`,
                "m",
            );
            return [verb, Number(line.exec(metrics)?.[1] ?? "0")];
        });
        return Object.fromEntries(numbers) as Requests;
    }

    public async remove(): Promise<void> {
        await kubectl("delete", "flowschema", ...verbs.map((verb) => this.schema(verb)), "--ignore-not-found");
        await kubectl("delete", "clusterrolebinding", this.name, "--ignore-not-found");
    }

    private schema(verb: string): string {
        return `${this.name}-${verb}`;
    }
}

export function difference(before: Requests, after: Requests): Requests {
    const lost = verbs.find((verb) => after[verb] < before[verb]);
    if (lost !== undefined) {
        throw new Error("the API server was restarted meanwhile, and has forgotten what it had counted");
    }
    return Object.fromEntries(verbs.map((verb) => [verb, after[verb] - before[verb]])) as Requests;
}

function apply(items: readonly object[]): void {
    const { kubectl: command, kubeconfig } = platform();
    execFileSync(command, ["apply", "--server-side", "--filename", "-"], {
        input: JSON.stringify({ apiVersion: "v1", kind: "List", items }),
        stdio: ["pipe", "ignore", "inherit"],
        env: { ...process.env, KUBECONFIG: kubeconfig },
    });
}
