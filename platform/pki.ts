import { createHash } from "node:crypto";
import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { makePrivateDirectory, readIfThere, writePrivateFile } from "./files";
import { run } from "./run";
import type { Settings } from "./settings";

/**
 * etcd has an authority of its own: whoever may talk to Kubernetes may not for that talk to its database. So has the API
 * server's aggregation layer: who holds a certificate of that authority may speak in any user's name.
 */
type Authority = "ca" | "etcd-ca" | "front-proxy-ca";

interface CertificateRequest {
    readonly name: string;
    readonly authority: Authority;
    /** What RBAC takes for the user. */
    readonly commonName: string;
    /** What RBAC takes for the group. */
    readonly organization?: string;
    readonly hosts?: readonly string[];
    readonly usage: "serverAuth" | "clientAuth" | "serverAuth,clientAuth";
}

/** The one name that may speak for others through the aggregation layer. */
export const frontProxyName = "front-proxy-client";

export function pkiDirectory(settings: Settings): string {
    return join(settings.home, "pki");
}

/** https://kubernetes.io/docs/setup/best-practices/certificates/ lists who needs which. */
export function certificateRequests(settings: Settings): readonly CertificateRequest[] {
    const loopback = ["IP:127.0.0.1", "DNS:localhost"];
    const node = { commonName: `system:node:${settings.nodeName}`, organization: "system:nodes" };
    const client = "clientAuth";
    return [
        { name: "etcd", authority: "etcd-ca", commonName: "etcd", hosts: loopback, usage: "serverAuth,clientAuth" },
        { name: "etcd-client", authority: "etcd-ca", commonName: "kube-apiserver", usage: client },
        {
            name: "apiserver",
            authority: "ca",
            commonName: "kube-apiserver",
            hosts: [...loopback, `IP:${settings.pods.address}`, "DNS:kubernetes.default.svc", "DNS:kubernetes"],
            usage: "serverAuth",
        },
        { name: "loopback", authority: "ca", commonName: "localhost", hosts: loopback, usage: "serverAuth" },
        {
            name: "kubelet",
            authority: "ca",
            commonName: settings.nodeName,
            hosts: [`IP:${settings.pods.address}`, `DNS:${settings.nodeName}`],
            usage: "serverAuth",
        },
        { name: "admin", authority: "ca", commonName: "ke1-admin", organization: "system:masters", usage: client },
        { name: "kubelet-client", authority: "ca", ...node, usage: client },
        {
            name: "apiserver-kubelet-client",
            authority: "ca",
            commonName: "ke1-apiserver",
            organization: "system:masters",
            usage: client,
        },
        { name: "front-proxy-client", authority: "front-proxy-ca", commonName: frontProxyName, usage: client },
        { name: "controller-manager", authority: "ca", commonName: "system:kube-controller-manager", usage: client },
        { name: "scheduler", authority: "ca", commonName: "system:kube-scheduler", usage: client },
    ];
}

/** Makes what is missing of keys and certificates, in `$KE1_HOME/pki`: `<name>.crt`, `<name>.key`; 0600. */
export async function ensurePki(settings: Settings): Promise<void> {
    const directory = pkiDirectory(settings);
    makePrivateDirectory(directory);
    await Promise.all([
        ensureAuthority(directory, "ca", "ke1"),
        ensureAuthority(directory, "etcd-ca", "ke1-etcd"),
        ensureAuthority(directory, "front-proxy-ca", "ke1-front-proxy"),
        ensureServiceAccountKey(directory),
    ]);
    await Promise.all(certificateRequests(settings).map((request) => ensureCertificate(directory, request)));
}

async function ensureAuthority(directory: string, name: Authority, commonName: string): Promise<void> {
    if (existsSync(join(directory, `${name}.crt`))) {
        return;
    }
    const extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"];
    await issue(directory, name, [`CN=${commonName}`], extensions, []);
}

async function ensureServiceAccountKey(directory: string): Promise<void> {
    const path = join(directory, "service-account.key");
    const publicPath = join(directory, "service-account.pub");
    if (!existsSync(publicPath)) {
        await openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path]);
        await openssl(["pkey", "-in", path, "-pubout", "-out", `${publicPath}.tmp`]);
        renameSync(`${publicPath}.tmp`, publicPath);
    }
}

async function ensureCertificate(directory: string, request: CertificateRequest): Promise<void> {
    const authority = readIfThere(join(directory, `${request.authority}.crt`)) ?? "";
    const wanted = createHash("sha256").update(JSON.stringify(request)).update(authority).digest("hex");
    const stamp = join(directory, `${request.name}.stamp`);
    if (readIfThere(stamp) === wanted) {
        return;
    }
    rmSync(stamp, { force: true });
    const { commonName, organization, hosts, usage } = request;
    await issue(
        directory,
        request.name,
        [`CN=${commonName}`, ...(organization === undefined ? [] : [`O=${organization}`])],
        [
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            `extendedKeyUsage=${usage}`,
            "authorityKeyIdentifier=keyid",
            ...(hosts === undefined ? [] : [`subjectAltName=${hosts.join(",")}`]),
        ],
        ["-CA", join(directory, `${request.authority}.crt`), "-CAkey", join(directory, `${request.authority}.key`)],
    );
    writePrivateFile(stamp, wanted);
}

/** Ten years: as long as a platform on a workstation lives; `down --purge` and `up` make new ones. */
async function issue(
    directory: string,
    name: string,
    subject: readonly string[],
    extensions: readonly string[],
    signer: readonly string[],
): Promise<void> {
    const path = (suffix: string) => join(directory, `${name}.${suffix}`);
    const configuration = [
        ...["[req]", "prompt=no", "distinguished_name=subject", "x509_extensions=extensions"],
        ...["[subject]", ...subject],
        ...["[extensions]", "subjectKeyIdentifier=hash", ...extensions],
    ];
    writePrivateFile(path("cnf"), configuration.join("\n") + "\n");
    await openssl([
        ...["req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256"],
        ...["-days", "3650", "-config", path("cnf"), "-keyout", path("key"), "-out", path("crt.tmp"), ...signer],
    ]);
    renameSync(path("crt.tmp"), path("crt"));
    rmSync(path("cnf"));
}

async function openssl(args: readonly string[]): Promise<void> {
    // openssl makes keys 0600 itself, and certificates by the umask: all of it is in a directory that is 0700.
    await run(["openssl", ...args]);
}
