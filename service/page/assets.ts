import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import { UserError } from "../../contract/errors";
import type { AssetAddresses } from "./layout";

export interface Asset {
    readonly type: string;
    readonly content: Buffer;
}

const types: Readonly<Record<string, string>> = {
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "plain.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
};

/** What the browser needs besides the pages, by path: each path has the hash of the content, and may be kept for ever. */
export class Assets {
    public readonly addresses: AssetAddresses;
    private readonly byPath = new Map<string, Asset>();

    public constructor(directory = defaultDirectory()) {
        const [script, style, plainStyle, icon] = Object.keys(types).map((name) => this.read(directory, name));
        this.addresses = {
            script: script ?? "",
            style: style ?? "",
            plainStyle: plainStyle ?? "",
            icon: icon ?? "",
        };
    }

    public get(address: string): Asset | undefined {
        return this.byPath.get(address);
    }

    private read(directory: string, name: string): string {
        const content = fs.readFileSync(path.join(directory, name));
        const hash = createHash("sha256").update(content).digest("hex").slice(0, 16);
        const address = `/assets/${hash}/${name}`;
        this.byPath.set(address, { type: types[name] ?? "", content });
        return address;
    }
}

/** `make` puts them beside the bundles; the tests run from the sources. */
function defaultDirectory(): string {
    const places = [path.join(__dirname, "page"), path.join(__dirname, "..", "..", "dist", "page")];
    const found = places.find((place) => fs.existsSync(path.join(place, "page.js")));
    if (found === undefined) {
        throw new UserError("the files of the page are missing: run `make` in the directory of ke1");
    }
    return found;
}
