import type { ChildProcess } from "node:child_process";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { freePort } from "./ports";
import { TemporaryDirectory } from "./temporary";

/** An sshd that lets one key in, to fetch from one repository. */
export class SshGit {
    private constructor(
        private readonly child: ChildProcess,
        private readonly directory: TemporaryDirectory,
        private readonly host: string,
        private readonly port: number,
    ) {}

    /** Undefined on a machine without sshd. */
    public static async start(host: string, repository: string): Promise<SshGit | undefined> {
        const sshd = ["/usr/sbin/sshd", "/usr/bin/sshd"].find((file) => fs.existsSync(file));
        if (sshd === undefined || spawnSync("ssh", ["-V"]).error) {
            return undefined;
        }
        const directory = new TemporaryDirectory();
        for (const key of ["host", "client"]) {
            const file = path.join(directory.path, key);
            execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file]);
        }
        const port = await freePort(host);
        const publicKey = fs.readFileSync(path.join(directory.path, "client.pub"), "utf8");
        directory.file(
            "authorized",
            `restrict,command="git -c safe.directory=* upload-pack ${repository}" ${publicKey}`,
            0o600,
        );
        directory.file(
            "config",
            [
                `ListenAddress ${host}:${port}`,
                `HostKey ${directory.path}/host`,
                `AuthorizedKeysFile ${directory.path}/authorized`,
                "StrictModes no",
                "UsePAM no",
                "PasswordAuthentication no",
                "PermitRootLogin prohibit-password",
                "PidFile none",
                "",
            ].join("\n"),
        );
        // Where sshd parts with its rights; only root's has it.
        fs.mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
        const child = spawn(sshd, ["-D", "-e", "-f", path.join(directory.path, "config")], { stdio: "ignore" });
        await sleep(500);
        return new SshGit(child, directory, host, port);
    }

    public get address(): string {
        return `ssh://${os.userInfo().username}@${this.host}:${this.port}/repository.git`;
    }

    public get privateKey(): string {
        return fs.readFileSync(path.join(this.directory.path, "client"), "utf8");
    }

    /** As `ssh-keyscan` prints it. */
    public get knownHosts(): string {
        const [type, key] = fs.readFileSync(path.join(this.directory.path, "host.pub"), "utf8").split(" ");
        return `[${this.host}]:${this.port} ${type ?? ""} ${key ?? ""}\n`;
    }

    public async stop(): Promise<void> {
        const closed = new Promise((resolve) => this.child.once("close", resolve));
        this.child.kill("SIGTERM");
        await closed;
        this.directory.remove();
    }
}
