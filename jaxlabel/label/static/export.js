// Folders of links or copies; the tables are plain links.
import { alarm, byId, post } from "./api.js";

for (const id of ["links", "copies"]) {
  byId(id).addEventListener("click", async () => {
    byId("made").textContent = "Writing …";
    try {
      const { count, folder } = await post("/api/export", { copies: id === "copies" });
      byId("made").textContent = `${count} pictures are in ${folder}`;
    } catch (error) { byId("made").textContent = ""; alarm(error.message); }
  });
}
