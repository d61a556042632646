export { type PlatformDescriptor, readDescriptor } from "./descriptor";
export { platformDown, type DownOptions } from "./down";
export { ke1Home } from "./home";
export { platformStatus, type PartStatus } from "./status";
export { platformIsUp, platformUp, type UpOptions } from "./up";
