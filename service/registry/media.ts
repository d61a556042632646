/** The media types of manifests and indexes: OCI's, and Docker's that are older. */
export const manifestTypes = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
] as const;

/** https://github.com/opencontainers/image-spec/blob/main/descriptor.md */
export interface Descriptor {
    readonly mediaType?: string;
    readonly digest: string;
    readonly size: number;
    /** Where else it is; a layer that may not be distributed has these, and registries do not. */
    readonly urls?: readonly string[];
}

/** What of a manifest, or of an index, is looked at. */
export interface ManifestDocument {
    readonly schemaVersion: 2;
    readonly mediaType?: string;
    readonly config?: Descriptor;
    readonly layers?: readonly Descriptor[];
    /** Of an index. */
    readonly manifests?: readonly Descriptor[];
}
