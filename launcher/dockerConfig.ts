/** Who one is to the registry. */
export interface PushCredential {
    readonly username: string;
    readonly password: string;
}

/** https://github.com/docker/cli/blob/master/docs/reference/commandline/login.md */
export function dockerConfig(image: string, { username, password }: PushCredential): string {
    const host = image.split("/", 1)[0] ?? "";
    // Docker Hub has always had an address of its own there.
    const server = ["docker.io", "index.docker.io"].includes(host) ? "https://index.docker.io/v1/" : host;
    return JSON.stringify({ auths: { [server]: { auth: Buffer.from(`${username}:${password}`).toString("base64") } } });
}
