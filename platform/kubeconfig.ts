import { readFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { readIfThere, writePrivateFile } from "./files";
import { pkiDirectory } from "./pki";
import type { Settings } from "./settings";

export const kubeContext = "ke1";

/** The path of a component's kubeconfig; the administrator's is the one for people. */
export function kubeconfigPath(settings: Settings, client: string): string {
    return client === "admin"
        ? join(settings.home, "kubeconfig")
        : join(settings.home, "kubernetes", `${client}.kubeconfig`);
}

/** Writes kubeconfigs, each with its certificate and key inside, 0600. */
export function writeKubeconfigs(settings: Settings, clients: readonly string[]): void {
    const encoded = (file: string) => readFileSync(join(pkiDirectory(settings), file)).toString("base64");
    for (const client of clients) {
        const content = stringify({
            apiVersion: "v1",
            kind: "Config",
            "current-context": kubeContext,
            clusters: [
                {
                    name: kubeContext,
                    cluster: {
                        server: `https://127.0.0.1:${settings.ports.api}`,
                        "certificate-authority-data": encoded("ca.crt"),
                    },
                },
            ],
            users: [
                {
                    name: client,
                    user: {
                        "client-certificate-data": encoded(`${client}.crt`),
                        "client-key-data": encoded(`${client}.key`),
                    },
                },
            ],
            contexts: [{ name: kubeContext, context: { cluster: kubeContext, user: client } }],
        });
        const path = kubeconfigPath(settings, client);
        if (readIfThere(path) !== content) {
            writePrivateFile(path, content);
        }
    }
}
