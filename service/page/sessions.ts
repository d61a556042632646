import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** A browser that somebody has logged in with. */
export interface Session {
    /** What it was opened with: asked for again at each request, so that a token that is no more ends its sessions. */
    readonly token: string;
    /** Goes with each form. */
    readonly csrf: string;
}

interface Kept extends Session {
    usedAt: number;
}

/** Without a request, in milliseconds. */
const idleLimit = 12 * 3600 * 1000;
const mostSessions = 10_000;

/** Sessions, in memory only: no token gets onto a disk, and a restart asks everybody to log in again. */
export class Sessions {
    private readonly kept = new Map<string, Kept>();

    public constructor(private readonly now: () => number = Date.now) {}

    /** @returns what the cookie holds; only its hash is kept */
    public open(token: string): string {
        this.sweep();
        const id = randomBytes(32).toString("base64url");
        this.kept.set(hashOf(id), { token, csrf: randomBytes(32).toString("base64url"), usedAt: this.now() });
        return id;
    }

    public get(id: string): Session | undefined {
        const session = this.kept.get(hashOf(id));
        if (!session || this.now() - session.usedAt > idleLimit) {
            return undefined;
        }
        session.usedAt = this.now();
        return session;
    }

    public close(id: string): void {
        this.kept.delete(hashOf(id));
    }

    private sweep(): void {
        for (const [key, { usedAt }] of this.kept) {
            if (this.now() - usedAt > idleLimit || this.kept.size >= mostSessions) {
                this.kept.delete(key);
            }
        }
    }
}

/** Whether a form came from a page of this session. */
export function isFormOf({ csrf }: Session, given: string | null): boolean {
    return given !== null && timingSafeEqual(Buffer.from(hashOf(csrf)), Buffer.from(hashOf(given)));
}

function hashOf(text: string): string {
    return createHash("sha256").update(text).digest("base64url");
}
