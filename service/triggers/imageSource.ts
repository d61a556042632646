import * as fs from "node:fs";
import * as path from "node:path";

import { UserError } from "../../contract/errors";
import { digestReference } from "../../contract/patterns";
import type { SourceProvider } from "../sourceProvider";

const scheme = "image:";

/** The source of a build whose image has its source in it. */
export function imageSource(image: string, trigger: string): string {
    return `${scheme}${image}#${trigger}`;
}

/** Whether a source is such a one. */
export function isImageSource(source: string): boolean {
    return source.startsWith(scheme);
}

/**
 * Takes `image:REPOSITORY@sha256:…`: a tree that only names the image, and so is another one for each digest. It gives each
 * digest a BUILD_TAG, and one that was built is not built again. All other sources are for `next`.
 */
export function withImageSources(next: SourceProvider): SourceProvider {
    return async (request, secrets, directory, signal) => {
        if (!isImageSource(request.source)) {
            return next(request, secrets, directory, signal);
        }
        const [image = "", trigger] = request.source.slice(scheme.length).split("#");
        if (!digestReference.test(image)) {
            throw new UserError(`\`${image}\` is no image by digest: repository@sha256:…`);
        }
        const content = `${JSON.stringify({ image, trigger }, undefined, 2)}\n`;
        fs.writeFileSync(path.join(directory, "image.json"), content, { mode: 0o644 });
        return { directory, ref: "" };
    };
}
