import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";

import { messageOf, UserError } from "../contract/errors";
import type { ImageBuild } from "../contract/imageBuild";
import { packContext } from "../engine/providers/docker/buildContext";
import { findCredential, registryOf } from "../engine/providers/docker/credentials";
import { Cluster } from "../launcher/cluster";
import { asksPlainlyForEpoch } from "../launcher/epochArgument";
import type { PushCredential } from "../launcher/dockerConfig";
import type { ContextFile } from "../launcher/imageBuild";
import { buildImageInCluster, ImageBuildFailure } from "../launcher/imageBuild";
import { ImageLog } from "../launcher/imageLog";
import { Measure } from "../launcher/measure";
import { required } from "./context";
import { interruption } from "./interruption";

/** Builds an image in the cluster; prints progress on stderr, and the image by digest as JSON on stdout. */
export async function buildClusterImage(): Promise<void> {
    const interrupted = interruption();
    const build = JSON.parse(required("KE1_IMAGE_BUILD")) as ImageBuild;
    const cluster = Cluster.connect({
        kubeconfig: process.env["KE1_KUBECONFIG"] ?? "",
        context: process.env["KE1_KUBE_CONTEXT"] ?? "",
    });
    const log = new ImageLog((line) => process.stderr.write(`${line}\n`));
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "ke1-image-"));
    try {
        const context = await pack(build, path.join(directory, `context-${randomBytes(4).toString("hex")}.tar.gz`));
        const credential = await pushCredential(build.imageName);
        const observer = { phase: (text: string) => log.phase(text), line: (line: string) => log.line(line) };
        const digest = await buildImageInCluster(cluster, build, context, credential, observer, interrupted);
        const reference = `${build.imageName.replace(/:[^/:]*$/, "")}@${digest}`;
        process.stderr.write(`built ${reference}\n`);
        process.stdout.write(JSON.stringify({ reference }));
    } catch (error) {
        if (interrupted.aborted) {
            process.stderr.write("Cancelled: `ke1 up` builds the image again\n");
            process.exitCode = 130;
            return;
        }
        if (!(error instanceof ImageBuildFailure)) {
            throw error;
        }
        log.showEnd();
        const reason = error.isBuilders && log.lastError !== "" ? log.lastError : error.message;
        process.stderr.write(`ImageBuildFailed: ${build.imageName}: ${reason}\n`);
        process.exitCode = 1;
    } finally {
        fs.rmSync(directory, { recursive: true, force: true });
    }
}

/** Packs what the Dockerfile may see: the commit's tree, less what .dockerignore names. */
async function pack(build: ImageBuild, target: string): Promise<ContextFile> {
    const { context, dockerfile } = build;
    const file = path.join(context, dockerfile);
    if (!fs.existsSync(file)) {
        throw new UserError(`${file} is not there; \`ke1 up\` makes it from the commit`);
    }
    const { stream, done } = packContext({ directory: context, dockerfile: file, base: process.cwd() });
    const measured = new Measure();
    const written = fs.createWriteStream(target, { mode: 0o600 });
    await Promise.all([done, pipeline(stream, createGzip({ level: 1 }), measured, written)]);
    const epochAsDefault = asksPlainlyForEpoch(fs.readFileSync(file, "utf8"));
    return { path: target, size: measured.size, sha256: measured.sha256(), epochAsDefault };
}

/** The stack's own, the embedded registry's, or the user's (`docker login`); none for a registry that asks for none. */
async function pushCredential(imageName: string): Promise<PushCredential | undefined> {
    const [username, password] = [process.env["KE1_REGISTRY_USERNAME"], process.env["KE1_REGISTRY_PASSWORD"]];
    if (username && password) {
        return { username, password };
    }
    const file = process.env["KE1_REGISTRY_CREDENTIAL_FILE"];
    if (file) {
        return readCredential(file);
    }
    const found = await findCredential(registryOf(imageName), process.env);
    return found.username && found.password ? { username: found.username, password: found.password } : undefined;
}

function readCredential(file: string): PushCredential {
    try {
        return JSON.parse(fs.readFileSync(file, "utf8")) as PushCredential;
    } catch (error) {
        throw new UserError(`${file} cannot be read (${messageOf(error)}): run \`ke1 platform image-builder\``);
    }
}
