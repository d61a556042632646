import { existsSync } from "node:fs";

import { kubectl, platform } from "../helpers/ke1";

import { TestProject } from "./harness";

/** What every program begins with: names of objects, and pods that run a script in the platform's own image. */
const prelude = `
"use strict";
const k8s = require("@pulumi/kubernetes");
const pulumi = require("@pulumi/pulumi");
const step = new pulumi.Config().getNumber("step") ?? 1;
const namespace = process.env.TEST_NAMESPACE;
const named = (name, more = {}) => ({ name, namespace, ...more });
const annotated = (name, annotations) => named(name, { annotations });
const podOf = (script, more = {}) => ({
    restartPolicy: "Never",
    terminationGracePeriodSeconds: 0,
    automountServiceAccountToken: false,
    containers: [{ name: "main", image: process.env.TEST_IMAGE, command: ["sh", "-c", script], ...more }],
});
const deploymentOf = (name, script, { replicas = 1, metadata = {}, ...more } = {}) => ({
    metadata: named(name, metadata),
    spec: {
        replicas,
        selector: { matchLabels: { app: name } },
        template: { metadata: { labels: { app: name } }, spec: { ...podOf(script, more), restartPolicy: "Always" } },
    },
});
`;

/** A namespace for the tests of one file, in which each has programs of its own; `remove` leaves nothing of it. */
export class KubernetesTest {
    public readonly namespace: string;
    private readonly projects: TestProject[] = [];

    public constructor(name: string) {
        this.namespace = `tmp-engine-${name}-${process.pid}`;
    }

    public async create(): Promise<void> {
        await kubectl("create", "namespace", this.namespace);
    }

    /** @param program the text of `index.js`, after what all have in common. */
    public project(program: string, environment: NodeJS.ProcessEnv = {}): TestProject {
        const { kubeconfig, baseImage } = platform();
        const variables = { TEST_NAMESPACE: this.namespace, TEST_IMAGE: baseImage, KUBECONFIG: kubeconfig };
        const project = new TestProject(prelude + program, { environment: { ...variables, ...environment } });
        this.projects.push(project);
        return project;
    }

    /** An object as the cluster has it; undefined where it does not have it. */
    public async object(kind: string, name: string): Promise<KubernetesObject | undefined> {
        const text = await this.kubectl("get", kind, name, "-o", "json", "--ignore-not-found");
        return text === "" ? undefined : (JSON.parse(text) as KubernetesObject);
    }

    public kubectl(...args: readonly string[]): Promise<string> {
        return kubectl("-n", this.namespace, ...args);
    }

    /** To be called after each test, whether it failed or not: what a test has left is not there for the next. */
    public async removeProjects(): Promise<void> {
        for (const project of this.projects.splice(0)) {
            try {
                if (existsSync(project.checkpointPath) && project.names().length > 0) {
                    await project.run("destroy");
                }
            } finally {
                project.remove();
            }
        }
    }

    public async remove(): Promise<void> {
        await kubectl("delete", "namespace", this.namespace, "--ignore-not-found", "--wait=false");
    }
}

export interface KubernetesObject {
    readonly metadata: {
        readonly name: string;
        readonly uid: string;
        readonly labels?: Readonly<Record<string, string>>;
    };
    readonly data?: Readonly<Record<string, string>>;
    readonly status?: Readonly<Record<string, unknown>>;
}
