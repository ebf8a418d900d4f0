declare module "virtual:atlas-tactics" {
  export const tactics: readonly { readonly id: string; readonly name: string; readonly techniques: readonly string[] }[];
  export const names: Readonly<Record<string, string>>;
}
