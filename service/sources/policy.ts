/** How much a source may be. What it says of its own size is never believed. */
export interface SourceLimits {
    /** Of an archive, of the layers of an image, or of what a git server sends. */
    readonly archiveBytes: number;
    readonly unpackedBytes: number;
    /** Files, directories and links. */
    readonly files: number;
    /** From the first request to the last file. */
    readonly seconds: number;
}

export const defaultSourceLimits: SourceLimits = {
    archiveBytes: 2 * 1024 ** 3,
    unpackedBytes: 8 * 1024 ** 3,
    files: 500_000,
    seconds: 600,
};

/** Where a source may come from. */
export interface SourcePolicy {
    /**
     * Hosts (`git.example.com`, `*.example.com`, with a port or without) and addresses (`10.1.0.0/16`) that are reached although
     * they are not public: a company's own git host, the embedded platform.
     */
    readonly allowSources: readonly string[];
    /** Whether a source may be a directory of this machine. */
    readonly localSources: boolean;
}
