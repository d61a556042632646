import type { Browser } from "playwright-core";
import { chromium } from "playwright-core";

import { findProgram, installPackages } from "../../platform/packages";
import { TemporaryDirectory } from "./temporary";

const need = { package: "chromium", programs: ["chromium"] };

/** Debian's Chromium, with nothing of its own sent anywhere. It is installed where it is missing: a quarter of a minute. */
export class Chromium {
    private constructor(
        public readonly browser: Browser,
        private readonly profile: TemporaryDirectory,
    ) {}

    /** @returns why there is none, where it cannot be had */
    public static async start(): Promise<Chromium | string> {
        if (findProgram("chromium") === undefined) {
            try {
                await installPackages([need]);
            } catch (error) {
                return `chromium cannot be installed: ${error instanceof Error ? error.message.split("\n")[0] : ""}`;
            }
        }
        const profile = new TemporaryDirectory();
        const browser = await chromium.launch({
            executablePath: findProgram("chromium"),
            // Its settings and crash reports go where the test can remove them.
            env: { ...process.env, HOME: profile.path, XDG_CONFIG_HOME: profile.path, XDG_CACHE_HOME: profile.path },
            args: [
                ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
                ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
            ],
        });
        return new Chromium(browser, profile);
    }

    public async stop(): Promise<void> {
        await this.browser.close();
        this.profile.remove();
    }
}
