/** What only the target `azure` needs: loading the provider's types takes 0.4 s. */
export { AzureArtifactStore } from "./artifactStore";
export { AzureBuildIdentity } from "./buildIdentity";
export { AzureLaunchAccess } from "./launchAccess";
