/** A solver of mixed-integer linear programs, as a policy sees it. */
export interface MilpSolver {
  name: string;
  /**
   * @param program in CPLEX's LP format; all of its variables are binary
   * @returns names of the variables that are 1, and whether no solution is better; null where none was found
   */
  solve(program: string): { chosen: string[]; optimal: boolean } | null;
}
