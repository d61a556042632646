import { TemporaryRepository } from "./temporary";

/**
 * A repository that can be built: a Dockerfile on the platform's toolchain image, and a Makefile whose `build` target is
 * the recipe given.
 */
export class BuildableRepository extends TemporaryRepository {
    public constructor(recipe: readonly string[]) {
        super();
        this.file("Dockerfile", dockerfile);
        this.recipe(recipe);
    }

    public recipe(lines: readonly string[]): void {
        const body = lines.map((line) => `\t@${line.replaceAll("$", "$$$$")}\n`).join("");
        this.file("Makefile", `build:\n${body}\nbuild-wrapper:\n\t$(KE1_WRAP) $(MAKE) build\n`);
    }
}

const dockerfile = `ARG BASE_IMAGE
FROM \${BASE_IMAGE}
WORKDIR /src
COPY --chown=65532:65532 . .
RUN chown 65532:65532 .
USER 65532:65532
ENTRYPOINT ["make", "build-wrapper"]
`;

/** A recipe that leaves one small artifact. */
export const smallBuild = ["mkdir -p bin", "echo hello from $BUILD_TAG > bin/greeting", "echo built"];
