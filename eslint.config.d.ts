export const ROOMS: string[];
